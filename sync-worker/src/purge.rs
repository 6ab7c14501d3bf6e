//! Drops what nobody can need any more: events that Stripe itself has forgotten.

use std::time::Duration;

use entity::stripe_event;
use platform::backoff::jitter;
use platform::health::Component;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

const EVERY: Duration = Duration::from_secs(60);

/// Longer than Stripe keeps and repeats an event, so that a late duplicate is still recognised.
const EVENT_LIFE: chrono::Duration = chrono::Duration::days(35);

/// Purges every minute until it is told to stop.
pub async fn run(engine: Engine, health: Component, stop: CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        match run_once(&engine).await {
            Ok(purged) => {
                health.ok();
                if purged > 0 {
                    tracing::info!(events = purged, "purged old events");
                }
            }
            Err(error) => health.problem(format!("purging old events: {error}")),
        }
        let _ = tokio::time::timeout(jitter(EVERY), stop.cancelled()).await;
    }
    Ok(())
}

/// Deletes the events that were done with long ago; returns how many.
pub async fn run_once(engine: &Engine) -> Result<u64, DbErr> {
    let now = engine.now(&engine.db).await?;
    let purged = stripe_event::Entity::delete_many()
        .filter(stripe_event::Column::ProcessedAt.lt(now - EVENT_LIFE))
        .exec(&engine.db)
        .await?;
    Ok(purged.rows_affected)
}
