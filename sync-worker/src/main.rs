//! The worker as a process of its own: `sync-worker`, `sync-worker healthcheck`.

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use entity::message::{EXCHANGE, QUEUES};
use platform::admin::Pages;
use platform::broker::{Broker, Topology};
use platform::clock::Clock;
use platform::config::{BrokerArgs, DatabaseArgs, LogArgs};
use platform::health::Health;
use platform::sqlite_file::{self, InUse};
use platform::steps::Steps;
use platform::supervisor::Supervisor;
use platform::wake::{self, Wake};
use platform::{admin, database, descriptors, telemetry};
use sea_orm::DbBackend;
use sync_worker::config::MISTAKEN_NAMES;
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
async fn main() {
    let arguments = platform::settings::parse_with::<Arguments>(&MISTAKEN_NAMES);
    platform::process::exit(match arguments.command {
        None => {
            let start = async |supervisor: &mut Supervisor| start(supervisor, arguments).await;
            Supervisor::run_program(GRACE, start).await
        }
        Some(Command::Healthcheck) => admin::healthcheck(&arguments.admin_listen).await,
    })
}

/// Starts the service; a SQLite file is this process's until the end.
async fn start(supervisor: &mut Supervisor, arguments: Arguments) -> anyhow::Result<Option<InUse>> {
    telemetry::init(&arguments.log)?;
    descriptors::raise();
    let listener = admin::bind(&arguments.admin_listen).await?;
    let amqp_url = arguments
        .broker
        .url()?
        .context("no broker is named: set AMQP_URL or AMQP_URL_FILE")?;
    arguments.worker.check_sandbox(true)?;
    if arguments.worker.uses_sandbox()? {
        let sandbox = &arguments.worker.sandbox_listen;
        tracing::info!(
            "no STRIPE_SECRET_KEY is set: the sandbox at {sandbox} is used, and nothing is sent to Stripe"
        );
    }
    let stripe = arguments.worker.stripe()?;
    let url = arguments.database.url()?;
    let in_use = sqlite_file::take(url.expose())?;
    let db = database::connect_lazy(&url, arguments.database.database_connections)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    let health = Health::new();
    let pages = Pages {
        health: health.clone(),
        metrics: telemetry::metrics()?,
        stop: supervisor.stop(),
    };
    supervisor.spawn_last("admin", |end| admin::serve(listener, pages, end));
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
    sync_worker::start(supervisor, worker).await?;
    Ok(in_use)
}
