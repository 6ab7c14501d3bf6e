//! `migration up | down | status`: brings a database to this version's schema, or back by one step.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, Database};

#[derive(Parser)]
#[command(
    about = "Applies customer-sync's schema to a Postgres or SQLite database",
    version
)]
struct Arguments {
    /// postgres://user:password@host/database, or sqlite://path?mode=rwc
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// A file that holds the database URL.
    #[arg(long, env = "DATABASE_URL_FILE", global = true)]
    database_url_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply every migration that is missing.
    Up,
    /// Take back the latest migration. Loses what its tables hold.
    Down,
    /// Say which migrations are applied; exit with 2 if one is missing.
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .init();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let url = database_url(&arguments)?;
    let _in_use = migration::sqlite_file::take(&url)?;
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    match arguments.command {
        Command::Up => Migrator::up(&db, None)
            .await
            .context("applying the schema")?,
        Command::Down => Migrator::down(&db, Some(1))
            .await
            .context("taking back the latest migration")?,
        Command::Status => {
            let pending = Migrator::get_pending_migrations(&db)
                .await
                .context("reading which migrations are applied")?;
            for migration in &pending {
                tracing::info!("missing: {}", migration.name());
            }
            if !pending.is_empty() {
                return Ok(ExitCode::from(2));
            }
        }
    }
    tracing::info!("the schema is as it should be");
    Ok(ExitCode::SUCCESS)
}

fn database_url(arguments: &Arguments) -> anyhow::Result<String> {
    match (&arguments.database_url, &arguments.database_url_file) {
        (Some(url), None) => Ok(url.clone()),
        (None, Some(path)) => Ok(std::fs::read_to_string(path)
            .with_context(|| format!("reading DATABASE_URL_FILE {}", path.display()))?
            .trim()
            .to_owned()),
        (Some(_), Some(_)) => anyhow::bail!("set DATABASE_URL or DATABASE_URL_FILE, not both"),
        (None, None) => anyhow::bail!("set DATABASE_URL, such as postgres://user@host/database"),
    }
}
