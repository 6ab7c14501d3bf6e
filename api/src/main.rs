//! The API as a process of its own: `api`, `api healthcheck`, `api openapi`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use api::{App, Config};
use clap::{Parser, Subcommand};
use platform::clock::Clock;
use platform::config::{DatabaseArgs, LogArgs};
use platform::health::Health;
use platform::supervisor::Supervisor;
use platform::wake::{self, Wake};
use platform::{admin, database, telemetry};
use sea_orm::DbBackend;

const GRACE: Duration = Duration::from_secs(15);

#[derive(Parser)]
#[command(
    about = "Writes customers and what is to be told of them; needs only the database",
    version
)]
struct Arguments {
    #[command(flatten)]
    api: Config,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the process that listens on API_LISTEN whether it is alive.
    Healthcheck,
    /// Print the spec.
    Openapi,
}

#[tokio::main]
async fn main() -> ExitCode {
    platform::process::exit(run(platform::settings::parse::<Arguments>()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        None => serve(arguments).await,
        Some(Command::Healthcheck) => admin::healthcheck(&arguments.api.api_listen).await,
        Some(Command::Openapi) => {
            let mut out = std::io::stdout().lock();
            out.write_all(api::spec().as_bytes())
                .context("printing the spec")
        }
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let listener = arguments.api.bind().await?;
    let url = arguments.database.url()?;
    let _in_use = platform::sqlite_file::take(url.expose())?;
    let db = database::connect_lazy(&url, arguments.database.database_connections)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    let (wake, inbox) = (Wake::default(), Wake::default());
    let mut supervisor = Supervisor::new(GRACE);
    let stop = supervisor.stop();
    if db.get_database_backend() == DbBackend::Postgres {
        for (channel, wake) in [("outbox", &wake), ("inbox", &inbox)] {
            let forward = wake::forward(db.clone(), channel, wake.clone(), stop.clone());
            supervisor.spawn("wake", forward);
        }
    }
    let app = App {
        db,
        clock: Clock::system(),
        wake,
        inbox,
        health: Health::new(),
        metrics: telemetry::metrics()?,
        keys: arguments.api.keys()?,
        webhook_secrets: arguments.api.webhook_secrets()?,
    };
    supervisor.spawn("api", api::run(listener, app, stop));
    supervisor.run().await
}
