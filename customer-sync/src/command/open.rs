//! What a command works with: the database, and Stripe.

use std::io::Write;

use anyhow::{Context, bail};
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
use crate::layout;
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
    let is_named = arguments.database_url()?.is_some();
    let url = state::url(arguments)?;
    let is_sqlite = url.expose().starts_with("sqlite:");
    let may_exist = is_named || arguments.data_dir.is_dir();
    let folder = (is_sqlite && may_exist)
        .then(|| Folder::take(&arguments.data_dir))
        .transpose()?;
    if !is_named {
        ensure_there_is_one(arguments).await?;
    }
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
    if !is_named && !arguments.data_dir.is_dir() {
        return Ok(None);
    }
    if state::url(arguments)?.expose().starts_with("sqlite:") {
        let Ok(_folder) = Folder::take(&arguments.data_dir) else {
            let note =
                "a running customer-sync has the database, so the key is not compared with it";
            let _ = writeln!(std::io::stderr(), "{note}");
            return Ok(None);
        };
        if !is_named {
            layout::upgrade(&arguments.data_dir).await?;
            if !layout::selected(arguments)?.exists() {
                return Ok(None);
            }
        }
    }
    existing(arguments).await.map(Some)
}

/// # Errors
/// The folder has no database for these settings.
async fn ensure_there_is_one(arguments: &Arguments) -> anyhow::Result<()> {
    let file = layout::selected(arguments)?;
    let file = file.display();
    if arguments.data_dir.is_dir() {
        layout::upgrade(&arguments.data_dir).await?;
        if layout::selected(arguments)?.exists() {
            return Ok(());
        }
        if let Some(unused) = layout::unused(arguments)? {
            let which = match arguments.worker.uses_sandbox()? {
                true => "is an account's: set STRIPE_SECRET_KEY to use it",
                false => "is the sandbox's: unset STRIPE_SECRET_KEY and STRIPE_API_BASE to use it",
            };
            bail!("there is no database {file}; {} {which}", unused.display());
        }
    }
    bail!("there is no database {file}: name another DATA_DIR, or DATABASE_URL")
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
    if arguments.database_url()?.is_none() {
        layout::upgrade(&arguments.data_dir).await?;
        let file = layout::selected(arguments)?;
        tracing::info!("the database is {}", file.display());
    }
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
    arguments.worker.check_sandbox(arguments.has_servers()?)?;
    let opened = existing(arguments).await?;
    let mut sandbox = None;
    let file = layout::sandbox_file(&arguments.data_dir);
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
