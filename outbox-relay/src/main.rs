//! The relay as a process of its own: `outbox-relay`, `outbox-relay declare`, `outbox-relay healthcheck`.

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use entity::message::{EXCHANGE, QUEUES};
use outbox_relay::{Components, Options, Relay};
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

/// More than a step may take once it is told to stop, plus settling and giving the lease back.
const GRACE: Duration = Duration::from_secs(10);
const TOPOLOGY: Topology = Topology {
    exchange: EXCHANGE,
    queues: &QUEUES,
};

#[derive(Parser)]
#[command(
    about = "Publishes the outbox to RabbitMQ, each event until it is confirmed",
    version
)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Where health and metrics are served
    #[arg(
        long,
        env = "ADMIN_LISTEN",
        default_value = "127.0.0.1:8001",
        value_name = "HOST:PORT"
    )]
    admin_listen: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Declare all exchanges and queues on RabbitMQ and exit; the user of AMQP_URL needs the permission to configure them
    Declare,
    /// Ask the process that listens on ADMIN_LISTEN whether it is alive
    Healthcheck,
}

#[tokio::main]
async fn main() {
    let arguments = platform::settings::parse::<Arguments>();
    platform::process::exit(match arguments.command {
        None => {
            let start = async |supervisor: &mut Supervisor| start(supervisor, arguments).await;
            Supervisor::run_program(GRACE, start).await
        }
        Some(Command::Declare) => declare(&arguments).await,
        Some(Command::Healthcheck) => admin::healthcheck(&arguments.admin_listen).await,
    })
}

/// For a relay and workers whose user may not declare.
async fn declare(arguments: &Arguments) -> anyhow::Result<()> {
    telemetry::init(&arguments.log)?;
    let declared = broker(arguments)?.declare().await;
    declared.context("declaring the exchanges and queues")?;
    tracing::info!("the exchanges and queues are declared");
    Ok(())
}

fn broker(arguments: &Arguments) -> anyhow::Result<Broker> {
    let url = arguments
        .broker
        .url()?
        .context("no broker is named: set AMQP_URL or AMQP_URL_FILE")?;
    Ok(Broker::rabbitmq(url, TOPOLOGY, "outbox-relay"))
}

/// Starts the service; a SQLite file is this process's until the end.
async fn start(supervisor: &mut Supervisor, arguments: Arguments) -> anyhow::Result<Option<InUse>> {
    telemetry::init(&arguments.log)?;
    descriptors::raise();
    let broker = broker(&arguments)?;
    let listener = admin::bind(&arguments.admin_listen).await?;
    let url = arguments.database.url()?;
    let in_use = sqlite_file::take(url.expose())?;
    let db = database::connect_lazy(&url, arguments.database.database_connections)
        .await
        .context("connecting to the database of DATABASE_URL")?;
    let (health, metrics, wake) = (Health::new(), telemetry::metrics()?, Wake::default());
    let stop = supervisor.stop();
    if db.get_database_backend() == DbBackend::Postgres {
        supervisor.spawn(
            "wake",
            wake::listen((db.clone(), url), "outbox", wake.clone(), stop.clone()),
        );
    }
    let relay = Relay {
        db,
        broker,
        clock: Clock::system(),
        wake,
        health: Components::new(&health),
        options: arguments.options,
        steps: Steps::default(),
    };
    supervisor.spawn("relay", outbox_relay::run(relay, stop.clone()));
    let pages = Pages {
        health,
        metrics,
        stop,
    };
    supervisor.spawn_last("admin", |end| admin::serve(listener, pages, end));
    Ok(in_use)
}
