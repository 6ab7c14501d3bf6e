//! What a command works with: the database, and Stripe.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use migration::schema::Schema;
use platform::clock::Clock;
use platform::database::{self, Database};
use platform::heartbeat::{self, Role};
use platform::sqlite_file::{self, InUse};
use platform::steps::Steps;
use sync_worker::Gauge;
use sync_worker::LaneState;
use sync_worker::engine::Engine;

use crate::arguments::Arguments;
use crate::state::{self, Folder};

/// A command does one thing at a time; some more for what is still being given back.
const CONNECTIONS: u32 = 4;

/// An opened database. On SQLite nobody else has it until this is dropped.
pub(crate) struct Opened {
    pub(crate) db: Database,
    folder: Option<Folder>,
    _in_use: Option<InUse>,
}

/// A database that is there, with this version's schema; nothing is written to it.
///
/// # Errors
/// A running customer-sync has it (SQLite), or it has another schema.
pub(crate) async fn existing(arguments: &Arguments) -> anyhow::Result<Opened> {
    let url = state::url(arguments)?;
    let is_sqlite = url.expose().starts_with("sqlite:");
    if arguments.database_url()?.is_none() {
        let file = state::file(&arguments.data_dir);
        ensure!(
            file.exists(),
            "there is no database {}: name another DATA_DIR, or DATABASE_URL",
            file.display()
        );
    }
    let folder = is_sqlite
        .then(|| Folder::take(&arguments.data_dir))
        .transpose()?;
    let in_use = sqlite_file::take(url.expose())?;
    let db = database::connect(&url, CONNECTIONS)
        .await
        .context("opening the database")?;
    check_schema(&db).await?;
    Ok(Opened {
        db,
        folder,
        _in_use: in_use,
    })
}

/// As [`existing`]; none if no database is named and there is none in DATA_DIR, or a running customer-sync has it.
///
/// # Errors
/// As [`existing`]'s.
pub(crate) async fn existing_if_any(arguments: &Arguments) -> anyhow::Result<Option<Opened>> {
    let is_named = arguments.database_url()?.is_some();
    if !is_named && !state::file(&arguments.data_dir).exists() {
        return Ok(None);
    }
    let is_sqlite = state::url(arguments)?.expose().starts_with("sqlite:");
    if is_sqlite && Folder::take(&arguments.data_dir).is_err() {
        let note = "a running customer-sync has the database, so the key is not compared with it";
        let _ = writeln!(std::io::stderr(), "{note}");
        return Ok(None);
    }
    existing(arguments).await.map(Some)
}

/// A database that may be filled: on SQLite it is made if it is missing.
///
/// # Errors
/// As [`existing`]'s.
pub(crate) async fn fillable(arguments: &Arguments) -> anyhow::Result<Opened> {
    let url = state::url(arguments)?;
    if !url.expose().starts_with("sqlite:") {
        return existing(arguments).await;
    }
    let folder = Some(Folder::take(&arguments.data_dir)?);
    let in_use = sqlite_file::take(url.expose())?;
    let (db, _) = state::open(arguments).await?;
    Ok(Opened {
        db,
        folder,
        _in_use: in_use,
    })
}

async fn check_schema(db: &Database) -> anyhow::Result<()> {
    let schema = migration::schema::read(db)
        .await
        .context("reading which migrations are applied")?;
    match (schema.problem(), schema) {
        (None, _) => Ok(()),
        (Some(problem), Schema::Newer(_)) => bail!("{problem}"),
        (Some(problem), _) => bail!("{problem}; starting customer-sync once does the same"),
    }
}

/// The worker's steps, and what they need while they are taken.
pub(crate) struct Worker {
    pub(crate) engine: Engine,
    _opened: Opened,
    _sandbox: Option<stripe_sandbox::Running>,
}

/// A worker on a database that is there. Without a key Stripe is the sandbox: the one that is kept in DATA_DIR, where
/// no running process has it, else the one at SANDBOX_LISTEN.
pub(crate) async fn worker(arguments: &mut Arguments) -> anyhow::Result<Worker> {
    let opened = existing(arguments).await?;
    let mut sandbox = None;
    let file = state::sandbox_file(&arguments.data_dir);
    if opened.folder.is_some() && arguments.worker.uses_sandbox()? && file.exists() {
        let running = stripe_sandbox::start(stripe_sandbox::Options {
            file: Some(file),
            ..Default::default()
        })
        .await
        .context("starting the Stripe sandbox of DATA_DIR")?;
        arguments.worker.sandbox_listen = running.url.trim_start_matches("http://").to_owned();
        sandbox = Some(running);
    }
    let engine = Engine {
        db: opened.db.clone(),
        clock: Clock::system(),
        stripe: arguments.worker.stripe()?,
        policy: arguments.worker.policy(),
        lane: LaneState::default(),
        steps: Steps::default(),
        gauge: Gauge::default(),
    };
    // One more who reads: a share as theirs, though they do not make room for it.
    engine.resume_moments().await?;
    let now = engine.now(&engine.db).await?;
    let workers = heartbeat::of_role(&engine.db, Role::Worker).await?;
    let others = workers.iter().filter(|worker| worker.is_alive(now)).count();
    let share = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    engine.stripe.set_share(share);
    Ok(Worker {
        engine,
        _opened: opened,
        _sandbox: sandbox,
    })
}
