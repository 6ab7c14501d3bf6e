//! The relay that holds the lease. One step publishes one batch, while the batch before it is being
//! deleted and the one behind it is being read.

use std::time::Duration;

use metrics::counter;
use platform::broker::{self, Outcome, Publisher};
use sea_orm::DbErr;
use sea_orm::prelude::Uuid;
use tokio::time::Instant;

use crate::publish::{Tally, publish};
use crate::read::{Batch, Cursor, read};
use crate::settle::{settle, verdict};
use crate::{Relay, Term};

pub struct Active<'a> {
    relay: &'a Relay,
    term: &'a Term,
    publisher: Option<Publisher>,
    cursor: Cursor,
    /// Read, but not published yet.
    next: Option<Batch>,
    /// Confirmed, but not deleted yet.
    confirmed: Vec<i64>,
    /// Why some rows wait to be published again.
    trouble: Option<String>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows in the batch that was published.
    pub read: usize,
    /// Of those, the ones that are done with.
    pub confirmed: usize,
    /// The others, which will be published again.
    pub unsettled: usize,
    /// Of the unsettled, those that no queue was bound for.
    pub returned: usize,
    /// Of the unsettled, those whose fate nobody knows.
    pub unknown: usize,
    /// The next batch is at hand already.
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading or settling outbox rows")]
    Database(#[source] DbErr),
    #[error("opening a publisher")]
    Broker(#[source] broker::Error),
    /// It takes nothing until somebody gives it memory or disk.
    #[error("the broker takes no messages: a memory or disk alarm has blocked it")]
    Blocked,
    /// Whatever is in flight is the next holder's to publish again.
    #[error("another relay has the lease")]
    Replaced,
}

impl<'a> Active<'a> {
    pub fn new(relay: &'a Relay, term: &'a Term) -> Self {
        Self {
            relay,
            term,
            publisher: None,
            cursor: Cursor::new(Instant::now()),
            next: None,
            confirmed: Vec::new(),
            trouble: None,
        }
    }

    /// Publishes the next batch, if there is one, and settles what is confirmed. What a full batch
    /// leaves to settle is settled while the next one is published.
    pub async fn run_once(&mut self) -> Result<Counts, Error> {
        self.open().await?;
        if self.next.is_none() {
            self.settle_and_read().await?;
        }
        let Some(batch) = self.next.take() else {
            return Ok(Counts::default());
        };
        if !self.term.is_valid() {
            return Err(Error::Replaced);
        }
        self.relay.steps.reach("relay: publish").await;
        let counts = self.publish(batch).await?;
        self.relay.steps.reach("relay: settle").await;
        if self.next.is_none() {
            self.settle_and_read().await?;
        }
        Ok(Counts {
            more: self.next.is_some(),
            ..counts
        })
    }

    /// Why rows of this or an earlier step wait to be published again, in a sentence.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Settles what is confirmed, and publishes nothing more.
    pub async fn finish(self) -> Result<(), Error> {
        self.relay.steps.reach("relay: last settle").await;
        settle(self.relay, &self.confirmed, self.term.epoch()).await
    }

    /// Leaves what was not settled alone for a while; what is new flows on.
    pub(crate) fn put_off(&mut self, pause: Duration) {
        self.cursor.put_off(Instant::now() + pause);
    }

    /// Forgets what was read, so that the next step starts with the lowest id.
    fn start_over(&mut self) {
        self.next = None;
        self.cursor.restart(Instant::now());
    }

    /// A publisher that takes messages. A new one declares the topology.
    async fn open(&mut self) -> Result<(), Error> {
        if self.publisher.is_none() {
            let publisher = self.relay.broker.publisher().await.map_err(Error::Broker)?;
            self.publisher = Some(publisher);
        }
        match &self.publisher {
            Some(publisher) if publisher.is_blocked() => Err(Error::Blocked),
            _ => Ok(()),
        }
    }

    /// Publishes a batch, while the one before it is being deleted and, if there may be one, the
    /// one behind it is being read.
    async fn publish(&mut self, batch: Batch) -> Result<Counts, Error> {
        let Self {
            relay,
            term,
            publisher: Some(publisher),
            cursor,
            confirmed,
            ..
        } = self
        else {
            return Ok(Counts::default());
        };
        let restarted = batch.restarted;
        let (rows, messages): (Vec<_>, Vec<_>) = batch
            .rows
            .into_iter()
            .map(|row| ((row.id, row.customer_id), row.message))
            .unzip();
        let in_flight = rows
            .iter()
            .map(|(id, _)| id)
            .chain(&*confirmed)
            .copied()
            .collect();
        let read_ahead = async {
            if !batch.full {
                return Ok(Batch::default());
            }
            read(&relay.db, cursor, &in_flight, relay.window()).await
        };
        let (outcomes, settled, ahead) = tokio::join!(
            publish(publisher, messages),
            settle(relay, confirmed, term.epoch()),
            read_ahead,
        );
        let taken = self.take(settled, ahead);
        // What the broker has said holds, whatever the database answered.
        let counts = self.note(&rows, &outcomes, restarted);
        taken?;
        Ok(counts)
    }

    /// Both at the same time. What is being deleted is not read again, because it counts as in
    /// flight.
    async fn settle_and_read(&mut self) -> Result<(), Error> {
        let Self {
            relay,
            term,
            cursor,
            confirmed,
            ..
        } = self;
        let in_flight = confirmed.iter().copied().collect();
        let (settled, batch) = tokio::join!(
            settle(relay, confirmed, term.epoch()),
            read(&relay.db, cursor, &in_flight, relay.window()),
        );
        self.take(settled, batch)
    }

    /// Takes over what the database did.
    fn take(
        &mut self,
        settled: Result<(), Error>,
        batch: Result<Batch, DbErr>,
    ) -> Result<(), Error> {
        if settled.is_ok() {
            self.confirmed.clear();
        }
        let batch = match settled.and(batch.map_err(Error::Database)) {
            Ok(batch) => batch,
            Err(error) => {
                // What was read before the error would be left out by the next reads.
                self.start_over();
                return Err(error);
            }
        };
        if batch.restarted && batch.rows.is_empty() {
            self.trouble = None;
        }
        self.next = Some(batch).filter(|batch| !batch.rows.is_empty());
        Ok(())
    }

    /// Takes over what the broker said of each row.
    fn note(&mut self, rows: &[(i64, Uuid)], outcomes: &[Outcome], restarted: bool) -> Counts {
        let verdict = verdict(rows, outcomes);
        let tally = Tally::of(outcomes);
        let counts = Counts {
            read: rows.len(),
            confirmed: verdict.confirmed.len(),
            unsettled: rows.len() - verdict.confirmed.len(),
            returned: tally.returned,
            unknown: tally.unknown,
            ..Counts::default()
        };
        counter!("relay_confirmed_total").increment(counts.confirmed as u64);
        tracing::debug!(
            rows = counts.read,
            unsettled = counts.unsettled,
            "published"
        );
        self.confirmed.extend(verdict.confirmed);
        if restarted || tally.trouble().is_some() {
            self.trouble = tally.trouble();
        }
        // What was read ahead counted on the rows before it.
        if let Some(next) = &mut self.next {
            next.rows
                .retain(|row| !verdict.stuck.contains(&row.customer_id));
        }
        self.next.take_if(|next| next.rows.is_empty());
        // Only a new publisher declares the topology, and after an unknown outcome this one is done
        // for.
        if tally.returned > 0 || tally.unknown > 0 {
            self.publisher = None;
        }
        if tally.unknown > 0 {
            self.start_over();
        }
        counts
    }
}
