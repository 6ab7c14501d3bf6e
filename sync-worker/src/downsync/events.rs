//! The events cursor: what Stripe says has happened since the last look goes into the inbox.
//!
//! Times of events are whole seconds and no order; so each look goes back a little behind the cursor,
//! and the ids tell what is new.

use std::collections::HashSet;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::stripe_event::{self, Event};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::state;
use crate::engine::Engine;
use crate::stripe::{EventPage, Lane};

/// How far behind the cursor each look goes, in seconds: events may appear late.
const OVERLAP_SECONDS: i64 = 30;

/// Stripe keeps events for 30 days. A cursor that is older has missed some.
const CURSOR_LIFE_SECONDS: i64 = 29 * 24 * 3600;

/// More new events than a full pass would read pages; then a full pass is cheaper and surer.
const TOO_MANY: usize = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many new events are in the inbox.
    New(usize),
    /// The cursor is lost or too far behind: a full pass has to find what was missed.
    NeedsPass,
}

/// Reads the new events into the inbox. One request and no write when there are none.
pub async fn poll(engine: &Engine) -> anyhow::Result<Polled> {
    let now = engine.now(&engine.db).await?;
    let state = state::load(&engine.db, now).await?;
    let Some(cursor) = state.events_cursor else {
        start_at_newest(engine, now).await?;
        return Ok(Polled::NeedsPass);
    };
    if cursor > 0 && now.timestamp() - cursor > CURSOR_LIFE_SECONDS {
        if start_at_newest(engine, now).await? == cursor {
            // Nothing has happened since, so nothing was missed.
            return Ok(Polled::New(0));
        }
        tracing::info!(
            "the events cursor is older than Stripe keeps events; a full pass makes up for it"
        );
        return Ok(Polled::NeedsPass);
    }
    let Some(events) = read_since(engine, cursor - OVERLAP_SECONDS).await? else {
        tracing::info!("too many events since the last look; a full pass makes up for them");
        start_at_newest(engine, now).await?;
        return Ok(Polled::NeedsPass);
    };
    if events.is_empty() {
        return Ok(Polled::New(0));
    }
    engine.steps.reach("events: read").await;
    let count = events.len();
    let newest = events.iter().map(|event| event.created).max();
    let storing = async {
        let tx = engine.begin().await?;
        stripe_event::receive(&tx, &events, now).await?;
        state::store(&tx, now, |state| {
            state.events_cursor = Set(Some(newest.unwrap_or(cursor).max(cursor)));
        })
        .await?;
        engine.steps.reach_commit("events: commit").await;
        tx.commit().await
    };
    within_bounds(storing).await?;
    Ok(Polled::New(count))
}

/// Sets the cursor to Stripe's newest event, by Stripe's clock and not by ours, and returns it. The full
/// pass that follows covers everything before it, so it must not go on with one that began earlier.
async fn start_at_newest(engine: &Engine, now: DateTime<Utc>) -> anyhow::Result<i64> {
    let page = EventPage {
        limit: 1,
        ..EventPage::default()
    };
    let reply = engine
        .stripe
        .events(Lane::Downsync, &page)
        .await
        .context("reading Stripe's newest event")?;
    engine.steps.reach("events: newest read").await;
    let newest = reply.value.items.first().map_or(0, |event| event.created);
    state::store(&engine.db, now, |state| {
        state.events_cursor = Set(Some(newest));
        state.pass_progress = Set(None);
    })
    .await?;
    Ok(newest)
}

/// The events since a time that are not in the inbox yet; `None` if they are too many.
async fn read_since(engine: &Engine, since: i64) -> anyhow::Result<Option<Vec<Event>>> {
    let mut fresh: Vec<Event> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut page = EventPage {
        limit: 100,
        created_gte: Some(since.max(0)),
        starting_after: None,
    };
    loop {
        let reply = engine
            .stripe
            .events(Lane::Downsync, &page)
            .await
            .context("reading Stripe's events")?
            .value;
        let ids: Vec<String> = reply.items.iter().map(|event| event.id.clone()).collect();
        let known = within_bounds(known_ids(engine, &ids)).await?;
        let mut progressed = false;
        for event in reply.items {
            if seen.insert(event.id.clone()) {
                progressed = true;
                if !known.contains(&event.id) {
                    fresh.push(event);
                }
            }
        }
        if !reply.has_more {
            return Ok(Some(fresh));
        }
        if fresh.len() > TOO_MANY {
            return Ok(None);
        }
        let Some(last) = ids.last().filter(|_| progressed) else {
            bail!("Stripe's list of events repeats itself or is empty and says that there is more");
        };
        page.starting_after = Some(last.clone());
    }
}

async fn known_ids(engine: &Engine, ids: &[String]) -> anyhow::Result<HashSet<String>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let known: Vec<String> = stripe_event::Entity::find()
        .select_only()
        .column(stripe_event::Column::Id)
        .filter(stripe_event::Column::Id.is_in(ids))
        .into_tuple()
        .all(&engine.db)
        .await?;
    Ok(known.into_iter().collect())
}
