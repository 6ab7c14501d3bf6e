//! The worker as a process of its own: `sync-worker`, `sync-worker healthcheck`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use entity::message::{EXCHANGE, QUEUES};
use platform::broker::{Broker, Topology};
use platform::clock::Clock;
use platform::config::{BrokerArgs, DatabaseArgs, LogArgs};
use platform::health::Health;
use platform::steps::Steps;
use platform::supervisor::Supervisor;
use platform::wake::{self, Wake};
use platform::{admin, database, telemetry};
use sea_orm::DbBackend;
use sync_worker::engine::Engine;
use sync_worker::{Config, Gauge, LaneState, Worker};

/// Longer than a push may take.
const GRACE: Duration = Duration::from_secs(50);

#[derive(Parser)]
#[command(
    about = "Applies changes to Stripe and brings Stripe's changes home",
    version
)]
struct Arguments {
    #[command(flatten)]
    worker: Config,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Where health checks and metrics are served, as host:port
    #[arg(
        long,
        env = "ADMIN_LISTEN",
        default_value = "127.0.0.1:8002",
        value_name = "ADDRESS"
    )]
    admin_listen: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the process that listens on ADMIN_LISTEN whether it is alive.
    Healthcheck,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = platform::settings::parse::<Arguments>();
    platform::process::exit(match arguments.command {
        None => serve(arguments).await,
        Some(Command::Healthcheck) => admin::healthcheck(&arguments.admin_listen).await,
    })
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let listener = admin::bind(&arguments.admin_listen).await?;
    let amqp_url = arguments
        .broker
        .url()?
        .context("no broker is named: set AMQP_URL or AMQP_URL_FILE")?;
    let stripe = arguments.worker.stripe()?;
    let url = arguments.database.url()?;
    let _in_use = platform::sqlite_file::take(url.expose())?;
    let db = database::connect_lazy(&url, arguments.database.database_connections)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    let health = Health::new();
    let mut supervisor = Supervisor::new(GRACE);
    let admin = admin::serve(
        listener,
        health.clone(),
        telemetry::metrics()?,
        supervisor.stop(),
    );
    supervisor.spawn("admin", admin);
    let inbox = Wake::default();
    if db.get_database_backend() == DbBackend::Postgres {
        let listen = wake::listen((db.clone(), url), "inbox", inbox.clone(), supervisor.stop());
        supervisor.spawn("wake", listen);
    }
    let topology = Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    };
    let worker = Worker {
        engine: Engine {
            db,
            clock: Clock::system(),
            stripe,
            policy: arguments.worker.policy(),
            lane: LaneState::default(),
            steps: Steps::default(),
            gauge: Gauge::default(),
        },
        broker: Broker::rabbitmq(amqp_url, topology, "sync-worker"),
        intervals: arguments.worker.intervals(),
        inbox,
        health,
    };
    sync_worker::start(&mut supervisor, worker).await?;
    supervisor.run().await
}
