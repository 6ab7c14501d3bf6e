//! The API as a process of its own: `api`, `api healthcheck`, `api openapi`.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use api::{App, Config};
use clap::{Parser, Subcommand};
use platform::clock::Clock;
use platform::config::{DatabaseArgs, LogArgs};
use platform::health::Health;
use platform::sqlite_file::{self, InUse};
use platform::supervisor::Supervisor;
use platform::wake::{self, Wake};
use platform::{admin, database, descriptors, telemetry};
use sea_orm::DbBackend;

/// More than requests get to finish after the drain delay.
const GRACE: Duration = Duration::from_secs(15);
/// Two more connections listen for notifications.
const LISTENERS: u32 = 2;

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
async fn main() {
    platform::process::exit(run(platform::settings::parse::<Arguments>()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        None => {
            let grace = GRACE + arguments.api.serving.drain_delay;
            let start = async |supervisor: &mut Supervisor| start(supervisor, arguments).await;
            Supervisor::run_program(grace, start).await
        }
        Some(Command::Healthcheck) => admin::healthcheck(&arguments.api.api_listen).await,
        Some(Command::Openapi) => {
            let mut out = std::io::stdout().lock();
            out.write_all(api::spec().as_bytes())
                .context("printing the spec")
        }
    }
}

/// Starts the service; a SQLite file is this process's until the end.
async fn start(supervisor: &mut Supervisor, arguments: Arguments) -> anyhow::Result<Option<InUse>> {
    telemetry::init(&arguments.log)?;
    descriptors::raise();
    let listener = arguments.api.bind().await?;
    let hosts = arguments.api.hosts(&listener)?;
    let url = arguments.database.url()?;
    let in_use = sqlite_file::take(url.expose())?;
    let db = database::connect_lazy(&url, arguments.database.database_connections)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    let (wake, inbox) = (Wake::default(), Wake::default());
    if db.get_database_backend() == DbBackend::Postgres {
        for (channel, wake) in [("outbox", &wake), ("inbox", &inbox)] {
            let forward = wake::forward(db.clone(), channel, wake.clone(), supervisor.stop());
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
        hosts,
        webhook_secrets: arguments.api.webhook_secrets()?,
        email_policy: arguments.api.email_reject,
    };
    let reserved = database::descriptors(arguments.database.database_connections + LISTENERS);
    api::start(supervisor, &arguments.api, listener, app, reserved).await?;
    Ok(in_use)
}
