//! The workers that live, counted in the database: together they keep to STRIPE_RATE.
//!
//! A worker that has lost its database counts as gone after [`LIVENESS_TIMEOUT`] although it may still be sending. It
//! can begin no push any more, so what the others send too much ends with the pushes that it has under way.
//! For the same reason nobody takes over a push of a worker that is gone before the push expires: that would
//! be no earlier.

use anyhow::{Context, bail};
use migration::schema::{self, Schema};
use platform::database::within_bounds;
use platform::health::Component;
use platform::heartbeat::{self, Column, Entity, LIVENESS_TIMEOUT, Recorder, Role};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbBackend, DbErr, EntityTrait, QueryFilter};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Records this worker's heartbeats and takes its share of the rate every few seconds, until it is told to stop.
pub async fn run(
    engine: Engine,
    recorder: Recorder,
    health: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    heartbeat::run(recorder, health, stop, || check(engine.clone())).await
}

async fn check(engine: Engine) -> anyhow::Result<()> {
    if let Some(problem) = read_schema(&engine).await?.problem() {
        bail!("{problem}");
    }
    take_share(&engine).await.context("counting the workers")?;
    Ok(())
}

/// The first heartbeat of a process. On SQLite, which is used by one process only, every other worker is known to be
/// gone.
///
/// # Errors
/// The database is unavailable.
pub async fn join(engine: &Engine, recorder: &mut Recorder) -> Result<(), DbErr> {
    if engine.db.get_database_backend() == DbBackend::Sqlite {
        let gone_since = engine.now(&engine.db).await? - LIVENESS_TIMEOUT;
        Entity::update_many()
            .col_expr(Column::SeenAt, Expr::value(gone_since))
            .filter(Column::Id.ne(recorder.id))
            .filter(Column::Role.eq(Role::Worker))
            .filter(Column::SeenAt.gt(gone_since))
            .exec(&engine.db)
            .await?;
    }
    beat(engine, recorder).await?;
    Ok(())
}

/// Records a heartbeat, and takes this worker's share of the rate; returns how many workers live.
///
/// # Errors
/// The database is unavailable.
pub async fn beat(engine: &Engine, recorder: &mut Recorder) -> Result<u32, DbErr> {
    recorder.beat().await?;
    take_share(engine).await
}

async fn read_schema(engine: &Engine) -> anyhow::Result<Schema> {
    within_bounds(schema::read(&engine.db))
        .await
        .context("reading which migrations are applied")
}

async fn take_share(engine: &Engine) -> Result<u32, DbErr> {
    let now = engine.now(&engine.db).await?;
    let workers = within_bounds(heartbeat::of_role(&engine.db, Role::Worker)).await?;
    let live = workers.iter().filter(|worker| worker.is_alive(now)).count();
    let live = u32::try_from(live).unwrap_or(u32::MAX).max(1);
    engine.stripe.set_share(live);
    metrics::gauge!("workers_live").set(f64::from(live));
    Ok(live)
}

/// Whether a worker has lately ended without saying so.
///
/// # Errors
/// The database is unavailable.
pub async fn has_one_died(engine: &Engine) -> Result<bool, DbErr> {
    let now = engine.now(&engine.db).await?;
    let workers = within_bounds(heartbeat::of_role(&engine.db, Role::Worker)).await?;
    let mut silent = workers.iter().filter(|worker| worker.stopped_at.is_none());
    Ok(silent.any(|worker| !worker.is_alive(now)))
}
