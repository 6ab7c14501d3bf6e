//! Records in the database that this relay is alive, active or standing by, and what it reports as wrong.

use anyhow::{Context, bail};
use migration::schema;
use platform::database::{Database, within_bounds};
use platform::heartbeat::{Recorder, Role, run};
use tokio_util::sync::CancellationToken;

use crate::Relay;

/// Until `stop`.
pub(crate) async fn record(relay: &Relay, stop: CancellationToken) -> anyhow::Result<()> {
    let (db, clock) = (relay.db.clone(), relay.clock.clone());
    let recorder = Recorder::new(db, clock, Role::Relay, relay.health.section.clone());
    let heartbeat = relay.health.heartbeat.clone();
    run(recorder, heartbeat, stop, || check(relay.db.clone())).await
}

async fn check(db: Database) -> anyhow::Result<()> {
    let schema = within_bounds(schema::read(&db))
        .await
        .context("reading which migrations are applied")?;
    match schema.problem() {
        Some(problem) => bail!("{problem}"),
        None => Ok(()),
    }
}
