//! The disk of PostgreSQL's machine is full for a while. PostgreSQL may end, because its WAL cannot grow, and may not
//! come back by itself: then an operator starts it once there is space again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use platform::config::Secret;
use platform::database;
use sea_orm::ConnectionTrait;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::pause;
use super::strike::Strike;
use crate::system::{System, control};

/// How long PostgreSQL may take to be back.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn fill(
    strike: &Strike,
    system: &Mutex<System>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (disk, ctl, url) = {
        let system = system.lock().await;
        let Some(disk) = system.servers.postgres_disk.clone() else {
            return Ok(());
        };
        (
            disk.join("full"),
            system.servers.postgres_ctl.clone(),
            system.database_url.clone(),
        )
    };
    let db = database::connect(&url, 1).await?;
    tokio::fs::write(&disk, "")
        .await
        .context("filling PostgreSQL's disk")?;
    // Every second time its WAL has to grow now. Without this it has room in its present segment for most strikes.
    if strike.which.is_multiple_of(2) {
        let _ = timeout(
            Duration::from_secs(5),
            db.execute_unprepared("select pg_switch_wal()"),
        )
        .await;
    }
    pause(strike.lasting, stop).await;
    tokio::fs::remove_file(&disk)
        .await
        .context("emptying PostgreSQL's disk")?;
    revive(&ctl, &url).await
}

/// Starts PostgreSQL if it is down, or is about to be: it is back when it answers twice.
async fn revive(ctl: &Path, url: &Secret) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut answers = 0;
    while answers < 2 {
        // A start fails while the server that it replaces is still ending.
        let started = control(ctl, "start").await;
        let answer = database::connect(url, 1).await;
        answers = if answer.is_ok() { answers + 1 } else { 0 };
        if Instant::now() > deadline {
            started?;
            answer.context("PostgreSQL is not back after its disk was full")?;
        }
        sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}
