//! Drops what nobody can need any more, in bounded batches: events that Stripe itself has forgotten, what was
//! in hand long ago, old timelines, and tombstones that no event can name.

use std::time::Duration;

use entity::{in_hand, stripe_event, timeline};
use platform::backoff::jitter;
use platform::database::within_bounds;
use platform::health::Component;
use platform::panic::caught;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

pub mod tombstone;

const EVERY: Duration = Duration::from_secs(60);

/// Longer than Stripe keeps and repeats an event, so that a late duplicate is still recognised.
const EVENT_LIFE: chrono::Duration = chrono::Duration::days(35);

/// What was given up is tried again after so long: the program may have been corrected.
const IN_HAND_LIFE: chrono::Duration = chrono::Duration::days(7);

/// Rows that one round deletes of one table.
const BATCH: u64 = 1_000;

/// What one round dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub events: u64,
    pub tombstones: u64,
    /// Rows of timelines.
    pub timelines: u64,
}

/// Purges every minute until it is told to stop.
pub async fn run(engine: Engine, health: Component, stop: CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        match caught(run_once(&engine)).await {
            Ok(purged) => {
                health.ok();
                if purged != Purged::default() {
                    tracing::info!(
                        events = purged.events,
                        deleted_customers = purged.tombstones,
                        timeline_entries = purged.timelines,
                        "removed expired rows"
                    );
                }
            }
            Err(error) => health.problem(format!("purging: {error}")),
        }
        let _ = tokio::time::timeout(jitter(EVERY), stop.cancelled()).await;
    }
    Ok(())
}

/// One round; what is left goes with the next one.
pub async fn run_once(engine: &Engine) -> Result<Purged, DbErr> {
    let now = engine.now(&engine.db).await?;
    let in_hand = in_hand::Entity::delete_many()
        .filter(in_hand::Column::BegunAt.lt(now - IN_HAND_LIFE))
        .exec(&engine.db);
    within_bounds(in_hand).await?;
    Ok(Purged {
        events: within_bounds(events(engine, now - EVENT_LIFE)).await?,
        tombstones: within_bounds(tombstone::run_once(engine)).await?,
        timelines: forget_timelines(engine).await?,
    })
}

/// Deletes events that were done with long ago.
async fn events(engine: &Engine, before: chrono::DateTime<chrono::Utc>) -> Result<u64, DbErr> {
    let old: Vec<String> = stripe_event::Entity::find()
        .select_only()
        .column(stripe_event::Column::Id)
        .filter(stripe_event::Column::ProcessedAt.lt(before))
        .order_by_asc(stripe_event::Column::ProcessedAt)
        .limit(BATCH)
        .into_tuple()
        .all(&engine.db)
        .await?;
    if old.is_empty() {
        return Ok(0);
    }
    let purged = stripe_event::Entity::delete_many()
        .filter(stripe_event::Column::Id.is_in(old))
        .exec(&engine.db)
        .await?;
    Ok(purged.rows_affected)
}

/// Rows of timelines that are looked at in one statement, and how many statements one round has.
const TIMELINE_BATCH: u64 = 5_000;
const TIMELINE_BATCHES: usize = 20;

/// Forgets what happened longer ago than TIMELINE_KEPT, in batches; returns how many rows went.
pub async fn forget_timelines(engine: &Engine) -> Result<u64, DbErr> {
    let now = engine.now(&engine.db).await?;
    let kept = chrono::Duration::from_std(engine.policy.timeline_kept).ok();
    let Some(before) = kept.and_then(|kept| now.checked_sub_signed(kept)) else {
        return Ok(0);
    };
    let mut forgotten = 0;
    for _ in 0..TIMELINE_BATCHES {
        let batch = timeline::forget(&engine.db, before, TIMELINE_BATCH).await?;
        forgotten += batch;
        if batch < TIMELINE_BATCH {
            break;
        }
    }
    Ok(forgotten)
}
