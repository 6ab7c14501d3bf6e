//! Works off the inbox: every customer that an event names is read again, once, unless all its events
//! are echoes of what both sides agree on already.

use std::collections::BTreeMap;
use std::pin::pin;
use std::slice;

use anyhow::Context;
use chrono::{DateTime, Utc};
use entity::message::Drift;
use entity::stripe_event;
use futures_util::{StreamExt, stream};
use platform::database::within_bounds;
use platform::panic::{Panicked, caught};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::diff::is_drift;
use super::publish::{AT_ONCE, Drifts};
use super::replaced;
use crate::engine::Engine;
use crate::lane::words;
use crate::outcome::{Action, Operation, action, is_missing};
use crate::poison::Watch;
use crate::stripe::{Failure, FailureKind, Lane};

pub use recent::{GAP, Recent};
use sort::{Open, Sorted, ids, sort};

mod recent;
mod sort;

const BATCH: u64 = 500;

/// Customers that are read side by side. Enough to hide the way to Stripe and back; how many a second is the limiter's
/// to say.
const READS: usize = 8;

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    pub events: usize,
    pub reads: usize,
    pub drifts: usize,
}

/// Works off up to a batch of events. They count as done once their drifts are confirmed.
///
/// # Errors
/// A customer could not be read, the broker or the database is away. The events that are not done come
/// again; those of the customers that could be read are done.
pub async fn run_once(engine: &Engine, drifts: &mut Drifts) -> anyhow::Result<Worked> {
    run_after(engine, drifts, &mut Recent::default()).await
}

/// The same, but leaves the events of customers that were read a moment ago to a later round.
///
/// # Errors
/// Those of [`run_once`].
pub async fn run_after(
    engine: &Engine,
    drifts: &mut Drifts,
    recent: &mut Recent,
) -> anyhow::Result<Worked> {
    let events = stripe_event::Entity::find()
        .filter(stripe_event::Column::ProcessedAt.is_null())
        .order_by_asc(stripe_event::Column::ReceivedAt)
        .limit(BATCH)
        .all(&engine.db);
    let events = within_bounds(events).await?;
    let mut by_customer: BTreeMap<String, Vec<stripe_event::Model>> = BTreeMap::new();
    for event in events {
        by_customer
            .entry(event.stripe_id.clone())
            .or_default()
            .push(event);
    }
    let by_customer = recent.ready(by_customer, Instant::now());
    if by_customer.is_empty() {
        return Ok(Worked::default());
    }
    let watch = Watch::of(engine, "event").await?;
    if watch.is_careful() {
        carefully((engine, drifts, recent), by_customer, watch).await
    } else {
        work_off((engine, drifts, recent), by_customer).await
    }
}

/// So that the customer that ends the process is told from the others: a few are in hand at a time, and those that were
/// in hand when a process ended are read alone. Inside one process a drift is applied before it counts as sent, so that
/// is watched here, too.
async fn carefully(
    (engine, drifts, recent): (&Engine, &mut Drifts, &mut Recent),
    by_customer: BTreeMap<String, Vec<stripe_event::Model>>,
    watch: Watch<'_>,
) -> anyhow::Result<Worked> {
    let suspects = watch
        .suspects(by_customer.keys().cloned().collect())
        .await?;
    let (alone, others): (BTreeMap<_, _>, BTreeMap<_, _>) = by_customer
        .into_iter()
        .partition(|(stripe_id, _)| suspects.contains(stripe_id));
    let mut total = Worked::default();
    let mut failed = None;
    let mut others = others.into_iter();
    loop {
        let few: BTreeMap<_, _> = others.by_ref().take(READS).collect();
        if few.is_empty() {
            break;
        }
        let in_hand: Vec<String> = few.keys().cloned().collect();
        for stripe_id in &in_hand {
            watch.begin(stripe_id).await?;
        }
        let worked = work_off((engine, &mut *drifts, &mut *recent), few).await;
        watch.end(&in_hand).await;
        total.add(worked, &mut failed)?;
    }
    for (stripe_id, events) in alone {
        if !watch.begin(&stripe_id).await? {
            let given_up = ids(events);
            total.events += given_up.len();
            let now = engine.now(&engine.db).await?;
            done(engine, given_up, now).await?;
            continue;
        }
        let one = BTreeMap::from([(stripe_id.clone(), events)]);
        let worked = work_off((engine, &mut *drifts, &mut *recent), one).await;
        watch.end(slice::from_ref(&stripe_id)).await;
        total.add(worked, &mut failed)?;
    }
    failed.map_or(Ok(total), Err)
}

impl Worked {
    /// Adds what was done. The first failure of a customer is kept, and one that concerns every customer ends it.
    fn add(
        &mut self,
        worked: anyhow::Result<Self>,
        failed: &mut Option<anyhow::Error>,
    ) -> anyhow::Result<()> {
        match worked {
            Ok(worked) => {
                self.events += worked.events;
                self.reads += worked.reads;
                self.drifts += worked.drifts;
            }
            Err(error) if is_of_one_customer(&error) => {
                failed.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

async fn work_off(
    (engine, drifts, recent): (&Engine, &mut Drifts, &mut Recent),
    by_customer: BTreeMap<String, Vec<stripe_event::Model>>,
) -> anyhow::Result<Worked> {
    let mut worked = Worked::default();
    let Sorted {
        replaced,
        settled,
        open,
    } = within_bounds(sort(engine, by_customer)).await?;
    for (event, customer_id) in &replaced {
        within_bounds(replaced::record(engine, event, *customer_id)).await?;
    }
    if !settled.is_empty() {
        worked.events += settled.len();
        let now = engine.now(&engine.db).await?;
        done(engine, settled, now).await?;
    }
    let now = Instant::now();
    for open in &open {
        recent.note(&open.stripe_id, now);
    }
    // What has been read goes home at once: a chunk is what is there, and no read is waited for.
    let width = engine.steps.side_by_side(READS);
    let mut reads = pin!(if width == 1 {
        // Without a queue in between, which would poll only what has been woken.
        let reads = stream::iter(open).then(|open| read(engine, open));
        reads.ready_chunks(1).left_stream()
    } else {
        stream::iter(open)
            .map(|open| read_in_task(engine, open))
            .buffer_unordered(width)
            .ready_chunks(AT_ONCE)
            .right_stream()
    });
    let mut failed = None;
    while let Some(chunk) = reads.next().await {
        let mut found = Vec::new();
        let mut looked_at = Vec::new();
        let mut goes_on = true;
        for Read { open, reply } in chunk {
            worked.reads += 1;
            match reply {
                Ok(drift) => {
                    let link = open.link.as_ref();
                    found.extend(drift.filter(|drift| is_drift(&drift.copy, link.map(Into::into))));
                    looked_at.extend(ids(open.events));
                }
                Err(error) => {
                    goes_on &= is_of_one_customer(&error);
                    failed = worse(failed, error);
                }
            }
        }
        worked.events += looked_at.len();
        worked.drifts += found.len();
        let now = engine.now(&engine.db).await?;
        engine.steps.reach("inbox: publish").await;
        drifts.send(&found, now).await?;
        engine.steps.reach("inbox: done").await;
        if !looked_at.is_empty() {
            done(engine, looked_at, now).await?;
        }
        if !goes_on {
            break;
        }
    }
    failed.map_or(Ok(worked), Err)
}

/// The error that says most about how to go on: one that concerns every customer.
fn worse(known: Option<anyhow::Error>, error: anyhow::Error) -> Option<anyhow::Error> {
    match known {
        Some(known) if is_of_one_customer(&error) || !is_of_one_customer(&known) => Some(known),
        _ => Some(error),
    }
}

struct Read {
    open: Open,
    reply: anyhow::Result<Option<Drift>>,
}

async fn read(engine: &Engine, open: Open) -> Read {
    let reply = caught(read_again(engine, &open.stripe_id)).await;
    Read { open, reply }
}

/// The same in a task of its own. A read that is not polled while the loop waits for the database would keep its
/// connection, and with few connections there would be none left for the loop.
#[expect(
    clippy::disallowed_methods,
    reason = "the task is awaited, and ends with the stream"
)]
fn read_in_task(engine: &Engine, open: Open) -> impl Future<Output = Read> + use<> {
    let (engine, again) = (engine.clone(), open.clone());
    let task = AbortOnDropHandle::new(tokio::spawn(async move { read(&engine, open).await }));
    async move {
        task.await.unwrap_or_else(|ended| Read {
            open: again,
            reply: Err(anyhow::Error::new(ended).context("reading a customer again")),
        })
    }
}

async fn done(engine: &Engine, ids: Vec<String>, now: DateTime<Utc>) -> Result<(), DbErr> {
    let noting = stripe_event::Entity::update_many()
        .col_expr(stripe_event::Column::ProcessedAt, Expr::value(now))
        .filter(stripe_event::Column::Id.is_in(ids))
        .exec(&engine.db);
    within_bounds(noting).await?;
    Ok(())
}

/// Whether reading another customer may work nevertheless.
pub(crate) fn is_of_one_customer(error: &anyhow::Error) -> bool {
    let is_panic = error.downcast_ref::<Panicked>().is_some();
    is_panic
        || error.downcast_ref::<Failure>().is_some_and(|failure| {
            let is_refused = matches!(action(Operation::Read, failure), Action::Park { .. });
            matches!(
                failure.kind,
                FailureKind::Unparsed | FailureKind::TooLarge | FailureKind::Mismatched
            ) || is_refused
        })
}

/// The customer as it is now; `None` if this account has no such customer.
pub async fn read_again(engine: &Engine, stripe_id: &str) -> anyhow::Result<Option<Drift>> {
    let read_at = engine.moment(&engine.db).await?;
    engine.steps.reach("read: begin").await;
    let reply = engine.stripe.retrieve(Lane::Downsync, stripe_id).await;
    engine.steps.reach("read: end").await;
    match reply {
        Ok(reply) => Ok(Some(Drift {
            copy: reply.value,
            read_at,
        })),
        Err(failure) if is_missing(&failure) => Ok(None),
        Err(failure) => {
            if failure.is_of_other_mode() {
                engine
                    .lane
                    .stop(words::lane_is_stopped("other_mode", &failure));
            }
            Err(failure).context("reading a customer again")
        }
    }
}
