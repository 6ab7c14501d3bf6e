//! The workers that live, counted in the database: together they keep to STRIPE_RATE.
//!
//! A worker that has lost its database counts as gone after [`LIVE`] although it may still be sending. It can
//! begin no push any more, so what the others send too much ends with the pushes that it has under way.
//! For the same reason nobody takes over a push of a worker that is gone before the push expires: that would
//! be no earlier.

use std::time::Duration;

use entity::worker;
use platform::backoff::jitter;
use platform::database::within_bounds;
use platform::health::Component;
use platform::panic::caught;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbBackend, DbErr, EntityTrait, QueryFilter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::Engine;

const EVERY: Duration = Duration::from_secs(5);

/// So long a worker counts as living after it was last seen.
pub const LIVE: chrono::Duration = chrono::Duration::seconds(20);

/// So long it is remembered that one was killed.
const REMEMBERED: chrono::Duration = chrono::Duration::hours(1);

/// Shows this worker and takes its share of the rate every few seconds; leaves when it is told to stop.
pub async fn run(
    engine: Engine,
    id: Uuid,
    health: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        match caught(within_bounds(beat(&engine, id))).await {
            Ok(_) => health.ok(),
            Err(error) => health.problem(format!("counting the workers that live: {error}")),
        }
        let _ = tokio::time::timeout(jitter(EVERY), stop.cancelled()).await;
    }
    if let Err(error) = within_bounds(worker::forget(&engine.db, id)).await {
        tracing::warn!(%error, "leaving the workers; the others wait until this one is forgotten");
    }
    Ok(())
}

/// The first beat of a process. On SQLite, which is used by one process only, every other one is known to be
/// gone.
pub async fn join(engine: &Engine, id: Uuid) -> Result<(), DbErr> {
    if engine.db.get_database_backend() == DbBackend::Sqlite {
        let gone_since = engine.now(&engine.db).await? - LIVE;
        worker::Entity::update_many()
            .col_expr(worker::Column::SeenAt, Expr::value(gone_since))
            .filter(worker::Column::Id.ne(id))
            .filter(worker::Column::SeenAt.gt(gone_since))
            .exec(&engine.db)
            .await?;
    }
    beat(engine, id).await?;
    Ok(())
}

/// Shows this worker, and takes its share of the rate; returns how many live.
pub async fn beat(engine: &Engine, id: Uuid) -> Result<u32, DbErr> {
    let now = engine.now(&engine.db).await?;
    worker::show(&engine.db, id, now).await?;
    let live = worker::count_since(&engine.db, now - LIVE).await?;
    worker::forget_silent_since(&engine.db, now - REMEMBERED).await?;
    let live = u32::try_from(live).unwrap_or(u32::MAX).max(1);
    engine.stripe.set_share(live);
    metrics::gauge!("workers_live").set(f64::from(live));
    Ok(live)
}

/// Whether a worker has lately ended without saying so.
pub async fn has_one_died(engine: &Engine) -> Result<bool, DbErr> {
    let now = engine.now(&engine.db).await?;
    within_bounds(worker::is_any_silent_since(&engine.db, now - LIVE)).await
}
