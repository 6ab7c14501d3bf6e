//! The clock of PostgreSQL's machine steps, forward or back, and is put right after a while. Some processes are killed
//! meanwhile, so that what they have stored is of a time that the right clock has not reached, or has long passed.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::pause;
use super::strike::Strike;
use crate::system::System;

/// In seconds.
const STEPS: [i64; 4] = [600, -600, 86_400, -20];

pub(super) async fn step(
    strike: &Strike,
    system: &Mutex<System>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Some(clock) = system.lock().await.servers.postgres_clock.clone() else {
        return Ok(());
    };
    set(&clock, STEPS[strike.which % STEPS.len()]).await?;
    pause(strike.lasting / 2, stop).await;
    let killed = kill_some(strike.which, system).await?;
    pause(strike.lasting / 2, stop).await;
    set(&clock, 0).await?;
    pause(Duration::from_millis(200), stop).await;
    let mut system = system.lock().await;
    killed
        .into_iter()
        .try_for_each(|place| system.programs[place].start())
}

/// Every second time the relays and workers of one number.
async fn kill_some(which: usize, system: &Mutex<System>) -> anyhow::Result<Vec<usize>> {
    let mut system = system.lock().await;
    let mut killed = Vec::new();
    if which.is_multiple_of(2) {
        return Ok(killed);
    }
    let ending = if which.is_multiple_of(3) { "-1" } else { "-2" };
    for (place, program) in system.programs.iter_mut().enumerate() {
        if program.name.ends_with(ending) && !program.name.starts_with("api") {
            program.kill().await?;
            killed.push(place);
        }
    }
    Ok(killed)
}

/// In one step: the library reads the file at any moment.
async fn set(clock: &Path, seconds: i64) -> anyhow::Result<()> {
    let next = clock.with_extension("next");
    tokio::fs::write(&next, format!("{seconds:+}\n"))
        .await
        .context("setting PostgreSQL's clock")?;
    tokio::fs::rename(&next, clock)
        .await
        .context("setting PostgreSQL's clock")
}
