//! An operator restores PostgreSQL from a dump that is some seconds old, as the README says: every process is stopped, the
//! database is replaced, and they are started again. What was written in between is lost in the database, and not in
//! Stripe.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use platform::config::Secret;
use platform::database;
use sea_orm::ConnectionTrait;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::pause;
use super::strike::Strike;
use crate::evidence::{self, Restore};
use crate::history::{History, now};
use crate::system::System;

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn restore(
    strike: &Strike,
    (system, history): (&Mutex<System>, &History),
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let url = system.lock().await.database_url.clone();
    let folder = tempfile::tempdir().context("making room for a dump")?;
    let file = folder.path().join("dump");
    let dumped = now();
    let mut command = Command::new("pg_dump");
    run(command
        .arg("--format=custom")
        .arg("--file")
        .arg(&file)
        .arg(url.expose()))
    .await?;
    pause(strike.lasting, stop).await;
    if stop.is_cancelled() {
        return Ok(());
    }
    // Held until the end, so that no other fault starts a process meanwhile.
    let mut system = system.lock().await;
    let mut stopped = Vec::new();
    let programs = system.programs.iter_mut().filter(|it| it.is_running());
    try_join_all(programs.map(|program| {
        stopped.push(program.name.clone());
        program.stop(PATIENCE)
    }))
    .await?;
    let db = system.connect().await?;
    let conflicts = evidence::database::conflicts(&db).await?;
    let source = evidence::database::source(&db).await?;
    db.close().await?;
    replace(&system.servers.database_url, &url, &file).await?;
    let db = system.connect().await?;
    let rows = evidence::database::rows(&db).await?;
    db.close().await?;
    history.add_restore(Restore {
        dumped,
        restored: now(),
        rows: rows.into_iter().map(|row| row.state).collect(),
        conflicts,
        source,
        forgotten: HashSet::new(),
    });
    let programs = system.programs.iter_mut();
    programs
        .filter(|program| stopped.contains(&program.name))
        .try_for_each(|program| program.start())
}

/// By a new database of the same name: sessions that are still open end with the old one.
async fn replace(admin: &str, url: &Secret, file: &Path) -> anyhow::Result<()> {
    let admin = database::connect(&Secret::new(admin), 1).await?;
    admin
        .execute_unprepared("DROP DATABASE chaos WITH (FORCE)")
        .await?;
    admin.execute_unprepared("CREATE DATABASE chaos").await?;
    admin.close().await?;
    let mut command = Command::new("pg_restore");
    run(command
        .arg("--exit-on-error")
        .arg("--dbname")
        .arg(url.expose())
        .arg(file))
    .await
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let run = command.kill_on_drop(true).output().await;
    let run = run.context("PostgreSQL's client programs are in the PATH")?;
    let text = String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success(), "{command:?}: {text}");
    Ok(())
}
