//! `migration up | down | status`: brings a database to this version's schema, or back by one step.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use migration::schema::{self, Schema};
use migration::{Migrator, MigratorTrait};
use platform::config::{LogArgs, Secret, secret};
use platform::database::{self, Database};
use platform::{redact, telemetry};
use sea_orm::{DbBackend, DbErr};

#[derive(Parser)]
#[command(
    about = "Applies customer-sync's schema to a Postgres or SQLite database",
    version
)]
struct Arguments {
    /// The database, as postgres://user:password@host/name or sqlite:path
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<Secret>,
    /// A file that holds the database's URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    database_url_file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply every migration that is missing
    Up,
    /// Take back the latest migration. Loses what its tables hold
    Down,
    /// Compare the schema with this version's; exit with 2 if they differ
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = platform::settings::parse::<Arguments>();
    if let Err(error) = telemetry::init(&arguments.log) {
        platform::process::exit(Err(error));
    }
    let ran = tokio::select! {
        biased;
        signal = signalled() => Err(signal),
        ran = run(arguments) => ran,
    };
    match ran {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", redact::redact(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// SIGINT or SIGTERM. Without a handler, the first process of a container would not end by them.
#[cfg(unix)]
async fn signalled() -> anyhow::Error {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    anyhow::anyhow!("stopped by a signal; run it again")
}

#[cfg(not(unix))]
async fn signalled() -> anyhow::Error {
    match tokio::signal::ctrl_c().await {
        Ok(()) => anyhow::anyhow!("stopped by a signal; run it again"),
        Err(_) => std::future::pending().await,
    }
}

/// On SQLite the migrator opens no transaction, and a migration that is killed would leave a part of itself.
async fn up(database: &Database) -> Result<(), DbErr> {
    if database.get_database_backend() != DbBackend::Sqlite {
        return Migrator::up(&database.connection(), None).await;
    }
    let tx = database::begin(database).await?;
    Migrator::up(&tx, None).await?;
    tx.commit().await
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let url = secret(
        &arguments.database_url,
        &arguments.database_url_file,
        "DATABASE_URL",
    )?;
    let url = url.context("set DATABASE_URL, such as postgres://user@host/database")?;
    let _in_use = platform::sqlite_file::take(url.expose())?;
    let database = database::connect(&url, 1)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    let db = database.connection();
    match arguments.command {
        Command::Up => {
            if let Schema::Older(missing) = schema::read(&db).await? {
                tracing::info!("applying {}", missing.join(", "));
            }
            up(&database).await.context("applying the schema")?;
        }
        Command::Down => Migrator::down(&db, Some(1))
            .await
            .context("taking back the latest migration")?,
        Command::Status => {
            let schema = schema::read(&db)
                .await
                .context("reading which migrations are applied")?;
            if let Some(problem) = schema.problem() {
                tracing::info!("{problem}");
                return Ok(ExitCode::from(2));
            }
        }
    }
    tracing::info!("the schema is as it should be");
    Ok(ExitCode::SUCCESS)
}
