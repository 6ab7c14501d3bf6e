//! Reads the customers again whose copy was put aside by the fence, or that a person asks for.

use std::slice;
use std::time::Duration;

use entity::stripe_link::{self, Column, Entity, Model};
use entity::time::has_come;
use platform::backoff::jitter;
use platform::database::within_bounds;
use platform::health::Component;
use platform::panic::caught;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use tokio_util::sync::CancellationToken;

use super::apply::{Applied, apply};
use super::inbox::{is_of_one_customer, read_again};
use super::ring::close_ring;
use crate::engine::{Engine, PUSH_EXPIRY};
use crate::poison::Watch;

use unread::Unread;

mod unmatched;
mod unread;

const EVERY: Duration = Duration::from_secs(1);
const BATCH: u64 = 100;

/// How long a customer that could not be read is left alone. No recheck is put off for longer.
pub(super) const AFTER_ERROR: chrono::Duration = chrono::Duration::seconds(5);

/// Looks every second until it is told to stop.
pub async fn run(engine: Engine, health: Component, stop: CancellationToken) -> anyhow::Result<()> {
    let mut unread = Unread::default();
    while !stop.is_cancelled() {
        match caught(look_once(&engine, &mut unread)).await {
            Ok(_) => health.ok(),
            Err(error) => health.problem(format!("reading customers again: {error:#}")),
        }
        unread.report(&health.cause("reads"));
        let _ = tokio::time::timeout(jitter(EVERY), stop.cancelled()).await;
    }
    Ok(())
}

/// Reads every customer that is due; returns how many were looked at.
///
/// # Errors
/// A customer could not be read, or the database is away.
pub async fn run_once(engine: &Engine) -> anyhow::Result<usize> {
    let mut unread = Unread::default();
    let found = look_once(engine, &mut unread).await?;
    unread.into_error().map_or(Ok(found), Err)
}

/// The same; those that could not be read are in `unread`, until they are read or nobody asks for it any more.
async fn look_once(engine: &Engine, unread: &mut Unread) -> anyhow::Result<usize> {
    let now = engine.now(&engine.db).await?;
    unread.forget_the_served(engine).await?;
    // With another account's key, or while Stripe is away, a look would only be lost.
    if engine.lane.stopped().is_some() {
        return Ok(0);
    }
    // While a push is under way, the copy would be put aside again.
    let no_push = Condition::any()
        .add(Column::PushStartedAt.is_null())
        .add(Column::PushStartedAt.lte(now - PUSH_EXPIRY))
        .add(Column::PushStartedAt.gt(now));
    let due = Entity::find()
        .filter(has_come(Column::RecheckAt, now, AFTER_ERROR))
        .filter(no_push)
        .order_by_asc(Column::RecheckAt)
        .limit(BATCH)
        .all(&engine.db);
    let due = within_bounds(due).await?;
    if !linked(engine, &due, unread).await? {
        return Ok(due.len());
    }
    let unmatched = unmatched::run_once(engine, now, unread).await?;
    Ok(due.len() + unmatched)
}

/// Customers that are linked to a row. Returns whether other customers can be read.
async fn linked(engine: &Engine, due: &[Model], unread: &mut Unread) -> anyhow::Result<bool> {
    if due.is_empty() {
        return Ok(true);
    }
    let watch = Watch::of(engine, "recheck").await?;
    for link in due {
        let item = link.stripe_id.clone().unwrap_or_default();
        if !watch.begin(&item).await? {
            within_bounds(served(engine, link, None)).await?;
            continue;
        }
        let looked = caught(recheck(engine, link)).await;
        watch.end(slice::from_ref(&item)).await;
        engine.steps.reach("recheck: done").await;
        let rest = looked.is_err().then_some(AFTER_ERROR);
        within_bounds(served(engine, link, rest)).await?;
        // One that cannot be read holds up no other.
        let goes_on = looked.as_ref().err().is_none_or(is_of_one_customer);
        unread.note(&item, looked);
        if !goes_on {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn recheck(engine: &Engine, link: &Model) -> anyhow::Result<()> {
    if let Some(stripe_id) = &link.stripe_id {
        look(engine, stripe_id).await?;
    }
    Ok(())
}

/// Reads a customer and applies what it shows; none if this account has no such customer.
async fn look(engine: &Engine, stripe_id: &str) -> anyhow::Result<Option<Applied>> {
    let Some(drift) = read_again(engine, stripe_id).await? else {
        return Ok(None);
    };
    engine.steps.reach("recheck: lock").await;
    let applied = apply(engine, &drift).await?;
    close_ring(engine, &drift, applied).await;
    Ok(Some(applied))
}

/// Notes that the customer was looked at, unless a fence has asked for another time meanwhile. Not
/// before: a process that dies in between leaves the look to the next one.
async fn served(
    engine: &Engine,
    link: &Model,
    rest: Option<chrono::Duration>,
) -> anyhow::Result<()> {
    let tx = engine.begin().await?;
    let locked = stripe_link::lock(&tx, link.customer_id).await?;
    let now = engine.now(&tx).await?;
    if let Some(locked) = locked.filter(|locked| locked.recheck_at == link.recheck_at) {
        let mut served = locked.into_active_model();
        served.recheck_at = Set(rest.map(|rest| now + rest));
        served.store(&tx, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
