//! The relay that holds the lease. It keeps a window of rows in flight: while some wait for their
//! confirms, earlier ones are being deleted and later ones are being read.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, OptionFuture};
use metrics::counter;
use platform::broker::{self, Outcome, Publisher};
use platform::steps::Steps;
use sea_orm::DbErr;
use sea_orm::prelude::Uuid;
use tokio::time::{Instant, timeout_at};

use crate::publish::Tally;
use crate::read::{Cursor, Found, Row, read};
use crate::settle::{Verdict, settle};
use crate::{Relay, Term};

/// How long a relay that stops waits for the confirms of what is in flight.
const LAST_CONFIRMS: Duration = Duration::from_secs(1);
/// Windows of confirmed rows that may wait to be deleted before no more rows are read.
const UNDELETED: usize = 4;

pub struct Active<'a> {
    relay: &'a Relay,
    term: &'a Term,
    publisher: Option<Publisher>,
    cursor: Cursor,
    reading: Option<BoxFuture<'a, Result<Found, DbErr>>>,
    /// Read, but not sent yet.
    next: VecDeque<Row>,
    /// The last read was full.
    has_more: bool,
    /// Sent, and not answered yet.
    in_flight: VecDeque<(i64, Uuid)>,
    /// What became of what was answered; confirmed rows are in it until they are deleted.
    verdict: Verdict,
    /// Of the confirmed rows, the first so many are being deleted.
    settling: Option<(usize, BoxFuture<'a, Result<(), Error>>)>,
    /// What was read from the lowest id on is being published.
    is_restarted: bool,
    /// Why some rows wait to be published again.
    trouble: Option<String>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows whose outcome became known.
    pub read: usize,
    /// Of those, the ones that are done with.
    pub confirmed: usize,
    /// The others, which will be published again.
    pub unsettled: usize,
    /// Of the unsettled, those that no queue was bound for.
    pub returned: usize,
    /// Of the unsettled, those whose fate nobody knows.
    pub unknown: usize,
    /// There is more to do at once.
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

/// What one wait came to.
enum Event {
    Outcomes(Vec<Outcome>),
    Found(Result<Found, DbErr>),
    Settled(Result<(), Error>),
}

impl<'a> Active<'a> {
    pub fn new(relay: &'a Relay, term: &'a Term) -> Self {
        Self {
            relay,
            term,
            publisher: None,
            cursor: Cursor::new(Instant::now()),
            reading: None,
            next: VecDeque::new(),
            has_more: false,
            in_flight: VecDeque::new(),
            verdict: Verdict::default(),
            settling: None,
            is_restarted: false,
            trouble: None,
        }
    }

    /// Publishes rows and settles those that are confirmed, until nothing is left to do, some row
    /// was not confirmed, or a whole window was answered. In the last case the rows behind it are in
    /// flight, and the next step goes on with them.
    pub async fn run_once(&mut self) -> Result<Counts, Error> {
        if let Err(error) = self.open().await {
            return Err(self.fail(error).await);
        }
        let window = usize::from(self.relay.window());
        let (mut counts, mut tally) = (Counts::default(), Tally::default());
        let mut may_read = true;
        loop {
            self.start_reading(&mut may_read);
            self.start_settling().await;
            self.send(window).await?;
            if self.in_flight.is_empty() && self.reading.is_none() && self.settling.is_none() {
                break;
            }
            let done = match self.wait().await {
                Event::Outcomes(outcomes) => {
                    self.note(&outcomes, (&mut counts, &mut tally));
                    Ok(())
                }
                Event::Found(found) => self.take(found),
                Event::Settled(settled) => self.settled(settled),
            };
            if let Err(error) = done {
                return Err(self.fail(error).await);
            }
            if counts.read >= window && self.verdict.stuck.is_empty() {
                counts.more = true;
                break;
            }
        }
        self.conclude(&mut counts, &tally);
        Ok(counts)
    }

    /// Why rows of this or an earlier step wait to be published again, in a sentence.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Waits for what is in flight and settles what is confirmed; sends nothing more.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.reading = None;
        if let Some((count, settling)) = self.settling.take() {
            settling.await?;
            self.verdict.confirmed.drain(..count);
        }
        let until = Instant::now() + LAST_CONFIRMS;
        while !self.in_flight.is_empty()
            && let Some(publisher) = &mut self.publisher
            && let Ok(outcomes) = timeout_at(until, publisher.outcomes()).await
        {
            self.note(&outcomes, (&mut Counts::default(), &mut Tally::default()));
        }
        self.relay.steps.reach("relay: last settle").await;
        settle(self.relay, self.verdict.confirmed, self.term.epoch()).await
    }

    /// Leaves what was not settled alone for a while; what is new flows on.
    pub(crate) fn put_off(&mut self, pause: Duration) {
        self.cursor.put_off(Instant::now() + pause);
    }

    /// Forgets what was read, so that the next step starts with the lowest id.
    fn start_over(&mut self) {
        self.next.clear();
        self.reading = None;
        self.has_more = false;
        self.cursor.restart(Instant::now());
    }

    /// A publisher that takes messages. A new one declares the topology.
    async fn open(&mut self) -> Result<(), Error> {
        // While nothing is published, only this shows that the broker is away. What is in flight gets its outcomes from
        // the publisher that sent it.
        if self.in_flight.is_empty() {
            self.publisher
                .take_if(|publisher| !publisher.is_connected());
        }
        if self.publisher.is_none() {
            let publisher = self.relay.broker.publisher().await.map_err(Error::Broker)?;
            self.publisher = Some(publisher);
        }
        match &self.publisher {
            Some(publisher) if publisher.is_blocked() && self.in_flight.is_empty() => {
                Err(Error::Blocked)
            }
            _ => Ok(()),
        }
    }

    /// Reads once in a step, and on while there is more and the window may run dry.
    fn start_reading(&mut self, may_read: &mut bool) {
        let limit = self.relay.window();
        let window = usize::from(limit);
        let is_low =
            self.next.len() <= window / 2 && self.verdict.confirmed.len() <= UNDELETED * window;
        let is_due = is_low && (self.has_more || (*may_read && self.next.is_empty()));
        if self.reading.is_some() || !is_due || !self.verdict.stuck.is_empty() {
            return;
        }
        *may_read = false;
        let sent = self.in_flight.iter().map(|(id, _)| *id);
        let unsent = self.next.iter().map(|row| row.id);
        let confirmed = self.verdict.confirmed.iter().copied();
        let in_flight: HashSet<i64> = sent.chain(unsent).chain(confirmed).collect();
        let range = self.cursor.range(Instant::now(), &in_flight);
        let (relay, source) = (self.relay, self.term.source());
        self.reading = Some(read(&relay.db, source, (range, limit), in_flight).boxed());
    }

    /// Deletes confirmed rows, a window of them at a time while there is a backlog.
    async fn start_settling(&mut self) {
        let count = self.verdict.confirmed.len();
        let is_idle = self.in_flight.is_empty() && self.reading.is_none();
        let is_enough = count >= usize::from(self.relay.window()) || !self.has_more || is_idle;
        if self.settling.is_some() || count == 0 || !is_enough {
            return;
        }
        if let Some(steps) = self.steps() {
            steps.reach("relay: settle").await;
        }
        let ids = self.verdict.confirmed.clone();
        let settling = settle(self.relay, ids, self.term.epoch()).boxed();
        self.settling = Some((count, settling));
    }

    /// Sends rows until the window is full. After a row that was not confirmed, only what is in
    /// flight is waited for.
    async fn send(&mut self, window: usize) -> Result<(), Error> {
        let is_blocked = self.publisher.as_ref().is_none_or(Publisher::is_blocked);
        if !self.verdict.stuck.is_empty() || self.next.is_empty() || is_blocked {
            return Ok(());
        }
        if self.in_flight.len() >= window {
            return Ok(());
        }
        if !self.term.is_valid() {
            return Err(Error::Replaced);
        }
        if let Some(steps) = self.steps() {
            steps.reach("relay: publish").await;
        }
        let room = (window - self.in_flight.len()).min(self.next.len());
        counter!("relay_published_total").increment(room as u64);
        for row in self.next.drain(..room) {
            if let Some(publisher) = &mut self.publisher {
                publisher.send(row.route, row.message);
                self.in_flight.push_back((row.id, row.customer_id));
            }
        }
        Ok(())
    }

    /// Waits for the broker or the database, whichever answers first. Cancelling it loses nothing.
    async fn wait(&mut self) -> Event {
        let publisher = self
            .publisher
            .as_mut()
            .filter(|_| !self.in_flight.is_empty());
        let outcomes = OptionFuture::from(publisher.map(|publisher| publisher.outcomes()));
        let reading = OptionFuture::from(self.reading.as_mut());
        let settling = OptionFuture::from(self.settling.as_mut().map(|(_, settling)| settling));
        tokio::select! {
            Some(outcomes) = outcomes => Event::Outcomes(outcomes),
            Some(found) = reading => Event::Found(found),
            Some(settled) = settling => Event::Settled(settled),
            else => Event::Outcomes(vec![Outcome::Unknown; self.in_flight.len()]),
        }
    }

    /// Where a test may hold the relay up: only while no query is under way, which would keep its
    /// connection.
    fn steps(&self) -> Option<&'a Steps> {
        let is_quiet = self.reading.is_none() && self.settling.is_none();
        is_quiet.then_some(&self.relay.steps)
    }

    /// Takes over what the broker said of the oldest rows in flight.
    fn note(&mut self, outcomes: &[Outcome], (counts, tally): (&mut Counts, &mut Tally)) {
        let before = self.verdict.confirmed.len();
        for outcome in outcomes {
            tally.add(*outcome);
            if let Some(row) = self.in_flight.pop_front() {
                self.verdict.add(row, *outcome);
            }
        }
        let confirmed = self.verdict.confirmed.len() - before;
        counter!("relay_confirmed_total").increment(confirmed as u64);
        counts.read += outcomes.len();
        counts.confirmed += confirmed;
        counts.unsettled += outcomes.len() - confirmed;
        // What was read behind a row counted on it.
        let stuck = &self.verdict.stuck;
        if !stuck.is_empty() {
            self.next.retain(|row| !stuck.contains(&row.customer_id));
        }
    }

    /// Takes over what was read.
    fn take(&mut self, found: Result<Found, DbErr>) -> Result<(), Error> {
        self.reading = None;
        let found = found.map_err(Error::Database)?;
        self.has_more = found.is_full;
        let is_restart = found.is_restart();
        let rows = found.take(&mut self.cursor);
        if is_restart && rows.is_empty() && !self.has_more {
            self.trouble = None;
        }
        self.is_restarted |= is_restart;
        let stuck = &self.verdict.stuck;
        let rows = rows.into_iter();
        self.next
            .extend(rows.filter(|row| !stuck.contains(&row.customer_id)));
        Ok(())
    }

    /// Takes over what was deleted.
    fn settled(&mut self, settled: Result<(), Error>) -> Result<(), Error> {
        let count = self.settling.take().map_or(0, |(count, _)| count);
        settled?;
        self.verdict.confirmed.drain(..count);
        Ok(())
    }

    /// Ends a step that failed, with no query under way. A statement that is under way is waited for, because
    /// only its answer tells which rows it has deleted.
    async fn fail(&mut self, error: Error) -> Error {
        self.start_over();
        if let Some((count, settling)) = self.settling.take()
            && settling.await.is_ok()
        {
            self.verdict.confirmed.drain(..count);
        }
        error
    }

    /// Ends a step. If some row was not confirmed, nothing is in flight any more.
    fn conclude(&mut self, counts: &mut Counts, tally: &Tally) {
        (counts.returned, counts.unknown) = (tally.returned, tally.unknown);
        if counts.read > 0 {
            tracing::debug!(
                rows = counts.read,
                unsettled = counts.unsettled,
                "published"
            );
        }
        let trouble = tally.trouble(&self.relay.broker);
        if self.is_restarted || trouble.is_some() {
            self.trouble = trouble;
            self.is_restarted = false;
        }
        if counts.more {
            return;
        }
        self.verdict.stuck.clear();
        counts.more = self.has_more || !self.next.is_empty();
        // Only a new publisher declares the topology, and after an unknown outcome this one is done
        // for.
        if tally.returned > 0 || tally.unknown > 0 {
            self.publisher = None;
        }
        if tally.unknown > 0 {
            self.start_over();
            counts.more = false;
        }
    }
}
