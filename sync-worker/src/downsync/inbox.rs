//! Works off the inbox: every customer that an event names is read again, once, unless all its events
//! are echoes of what both sides agree on already.

use std::collections::BTreeMap;

use anyhow::Context;
use chrono::{DateTime, Utc};
use entity::message::{Drift, StripeCopy};
use entity::{customer, stripe_event, stripe_link};
use platform::database::within_bounds;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::diff::is_drift;
use super::publish::Drifts;
use crate::engine::Engine;
use crate::outcome::{Action, Operation, action, is_missing};
use crate::poison::Watch;
use crate::stripe::{Failure, FailureKind, Lane};

const BATCH: u64 = 500;

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
    let events = stripe_event::Entity::find()
        .filter(stripe_event::Column::ProcessedAt.is_null())
        .order_by_asc(stripe_event::Column::ReceivedAt)
        .limit(BATCH)
        .all(&engine.db);
    let events = within_bounds(events).await?;
    if events.is_empty() {
        return Ok(Worked::default());
    }
    let mut by_customer: BTreeMap<String, Vec<stripe_event::Model>> = BTreeMap::new();
    for event in events {
        by_customer
            .entry(event.stripe_id.clone())
            .or_default()
            .push(event);
    }
    let watch = Watch::of(engine, "event").await?;
    if watch.is_careful() {
        one_by_one(engine, drifts, by_customer, watch).await
    } else {
        work_off(engine, drifts, by_customer).await
    }
}

/// So that the customer that ends the process is told from the others. Inside one process its drift is applied
/// before it counts as sent, so that is watched here, too.
async fn one_by_one(
    engine: &Engine,
    drifts: &mut Drifts,
    by_customer: BTreeMap<String, Vec<stripe_event::Model>>,
    watch: Watch<'_>,
) -> anyhow::Result<Worked> {
    let mut total = Worked::default();
    let mut failed = None;
    for (stripe_id, events) in by_customer {
        if !watch.begin(&stripe_id).await? {
            let given_up = ids(events);
            total.events += given_up.len();
            let now = engine.now(&engine.db).await?;
            done(engine, given_up, now).await?;
            continue;
        }
        let one = BTreeMap::from([(stripe_id.clone(), events)]);
        let worked = work_off(engine, drifts, one).await;
        watch.end(&stripe_id).await;
        match worked {
            Ok(worked) => {
                total.events += worked.events;
                total.reads += worked.reads;
                total.drifts += worked.drifts;
            }
            Err(error) if is_of_one_customer(&error) => failed = failed.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    failed.map_or(Ok(total), Err)
}

async fn work_off(
    engine: &Engine,
    drifts: &mut Drifts,
    by_customer: BTreeMap<String, Vec<stripe_event::Model>>,
) -> anyhow::Result<Worked> {
    let mut worked = Worked::default();
    let mut found = Vec::new();
    let mut looked_at = Vec::new();
    let mut failed = None;
    for (stripe_id, events) in by_customer {
        let link = within_bounds(stripe_link::find_by_stripe_id(&engine.db, &stripe_id)).await?;
        if !within_bounds(is_settled(engine, &events, link.as_ref())).await? {
            worked.reads += 1;
            match read_again(engine, &stripe_id).await {
                Ok(drift) => {
                    found.extend(
                        drift.filter(|drift| is_drift(&drift.copy, link.as_ref().map(Into::into))),
                    );
                }
                Err(error) => {
                    let is_its_own = is_of_one_customer(&error);
                    failed = failed.or(Some(error));
                    if is_its_own {
                        continue;
                    }
                    break;
                }
            }
        }
        looked_at.extend(ids(events));
    }
    worked.events = looked_at.len();
    worked.drifts = found.len();
    let now = engine.now(&engine.db).await?;
    engine.steps.reach("inbox: publish").await;
    drifts.send(&found, now).await?;
    engine.steps.reach("inbox: done").await;
    done(engine, looked_at, now).await?;
    failed.map_or(Ok(worked), Err)
}

fn ids(events: impl IntoIterator<Item = stripe_event::Model>) -> Vec<String> {
    events.into_iter().map(|event| event.id).collect()
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
pub(super) fn is_of_one_customer(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| {
        let is_refused = matches!(action(Operation::Read, failure), Action::Park { .. });
        failure.kind == FailureKind::Unparsed || is_refused
    })
}

/// Whether there is nothing in these events that is not known, whatever the customer is like by now.
async fn is_settled(
    engine: &Engine,
    events: &[stripe_event::Model],
    link: Option<&stripe_link::Model>,
) -> Result<bool, DbErr> {
    let Some(link) = link else {
        return Ok(false);
    };
    if all_are_echoes(events, link) {
        return Ok(true);
    }
    // Both sides know of the deletion, and nothing revives a tombstone.
    let row = customer::find(&engine.db, link.customer_id).await?;
    Ok(row.is_some_and(|row| row.is_deleted() && row.rev <= link.synced_rev))
}

/// Whether every event shows the customer as both sides agree that it is. An edit that came later has
/// an event of its own, so nothing is missed by not reading.
fn all_are_echoes(events: &[stripe_event::Model], link: &stripe_link::Model) -> bool {
    events.iter().all(|event| {
        let shown = event
            .copy
            .clone()
            .and_then(|copy| serde_json::from_value::<StripeCopy>(copy).ok());
        event.kind != "customer.deleted"
            && shown.is_some_and(|copy| !is_drift(&copy, Some(link.into())))
    })
}

/// The customer as it is now; `None` if this account has no such customer.
pub async fn read_again(engine: &Engine, stripe_id: &str) -> anyhow::Result<Option<Drift>> {
    let read_at = engine.now(&engine.db).await?;
    engine.steps.reach("read: begin").await;
    let reply = engine.stripe.retrieve(Lane::Downsync, stripe_id).await;
    engine.steps.reach("read: end").await;
    match reply {
        Ok(reply) => Ok(Some(Drift {
            copy: reply.value,
            read_at,
        })),
        Err(failure) if is_missing(&failure) => Ok(None),
        Err(failure) => Err(failure).context("reading a customer again"),
    }
}
