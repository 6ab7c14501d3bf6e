//! Starts every service in this process, each as it runs on servers.

use std::time::Duration;

use anyhow::Context;
use entity::message::{EXCHANGE, QUEUES};
use outbox_relay::{Components, Relay};
use platform::broker::{Broker, Topology};
use platform::clock::Clock;
use platform::config::Secret;
use platform::database::Database;
use platform::health::Health;
use platform::sqlite_file::{self, InUse};
use platform::steps::Steps;
use platform::supervisor::Supervisor;
use platform::wake::{self, Wake};
use platform::{admin, database, descriptors, telemetry};
use sea_orm::DbBackend;
use stripe_sandbox::Sandbox;
use sync_worker::engine::Engine;
use sync_worker::{LaneState, Worker};

use crate::arguments::Arguments;
use crate::bar;
use crate::greeting::{self, Places};
use crate::layout;
use crate::state::{self, Folder};

/// Longer than a push may take.
const GRACE: Duration = Duration::from_secs(50);

/// What the sandbox and the clients of other services open, at most.
const OTHER_DESCRIPTORS: usize = 128;

/// Runs until a signal, then drains.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let grace = GRACE + arguments.api.serving.drain_delay;
    let start = async |supervisor: &mut Supervisor| start(supervisor, arguments).await;
    Supervisor::run_program(grace, start).await
}

/// Starts every service; the folder and a SQLite file are this process's until the end.
async fn start(
    supervisor: &mut Supervisor,
    mut arguments: Arguments,
) -> anyhow::Result<(Folder, Option<InUse>)> {
    let terminal = bar::init(&arguments.log)?;
    descriptors::raise();
    // Before anything is counted.
    let metrics = telemetry::metrics()?;
    // What can be wrong with the settings is found before anything is started.
    let listener = arguments.api.bind().await?;
    let keys = arguments.api.keys()?;
    let hosts = arguments.api.hosts(&listener)?;
    let webhook_secrets = arguments.api.webhook_secrets()?;
    let amqp_url = arguments.broker.url()?;
    let kept = take(&arguments).await?;
    let sandbox = start_sandbox(&mut arguments, supervisor).await?;
    let stripe = arguments.worker.stripe()?;
    let (db, url) = state::open(&arguments).await?;
    let places = Places {
        api: format!("http://{}", listener.local_addr()?),
        data: greeting::Data::read(&arguments, &db).await?,
        sandbox,
        needs_key: !keys.is_empty(),
    };
    let broker = broker(amqp_url);
    let clock = Clock::system();
    let (wake, inbox) = (Wake::default(), Wake::default());
    let health = Health::new();
    if db.get_database_backend() == DbBackend::Postgres {
        let channels = [("outbox", &wake), ("inbox", &inbox)];
        listen(supervisor, (&db, &url), channels);
    }
    let relay = Relay {
        db: db.clone(),
        broker: broker.clone(),
        clock: clock.clone(),
        wake: wake.clone(),
        health: Components::new(&health),
        options: arguments.relay.clone(),
        steps: Steps::default(),
    };
    supervisor.spawn("outbox-relay", outbox_relay::run(relay, supervisor.stop()));
    let worker = Worker {
        engine: Engine {
            db: db.clone(),
            clock: clock.clone(),
            stripe,
            policy: arguments.worker.policy(),
            lane: LaneState::default(),
            steps: Steps::default(),
            gauge: bar::gauge(terminal, supervisor),
        },
        broker,
        intervals: arguments.worker.intervals(),
        inbox: inbox.clone(),
        health: health.clone(),
    };
    sync_worker::start(supervisor, worker).await?;
    let app = api::App {
        db,
        clock,
        wake,
        inbox,
        health,
        metrics,
        keys,
        hosts,
        webhook_secrets,
        email_policy: arguments.api.email_reject,
    };
    let reserved = database::descriptors(arguments.database_connections) + OTHER_DESCRIPTORS;
    api::start(supervisor, &arguments.api, listener, app, reserved).await?;
    greeting::print(&places);
    Ok(kept)
}

/// Takes the folder and a SQLite file for this process, unless Stripe's key is missing.
async fn take(arguments: &Arguments) -> anyhow::Result<(Folder, Option<InUse>)> {
    arguments.worker.check_sandbox(arguments.has_servers()?)?;
    let folder = Folder::take(&arguments.data_dir)?;
    if arguments.database_url()?.is_none() {
        layout::upgrade(&arguments.data_dir).await?;
    }
    let database = sqlite_file::take(state::url(arguments)?.expose())?;
    Ok((folder, database))
}

/// Other processes may write to this database too.
fn listen(
    supervisor: &mut Supervisor,
    (db, url): (&Database, &Secret),
    channels: [(&'static str, &Wake); 2],
) {
    for (channel, wake) in channels {
        let listen = wake::listen(
            (db.clone(), url.clone()),
            channel,
            wake.clone(),
            supervisor.stop(),
        );
        supervisor.spawn("wake", listen);
    }
}

/// RabbitMQ, or the broker inside this process.
fn broker(amqp_url: Option<Secret>) -> Broker {
    let topology = Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    };
    match amqp_url {
        Some(url) => Broker::rabbitmq(url, topology, "customer-sync"),
        None => Broker::in_process(&topology),
    }
}

/// Starts the sandbox where it stands in for Stripe; it keeps its customers in the data folder. Returns its URL.
async fn start_sandbox(
    arguments: &mut Arguments,
    supervisor: &mut Supervisor,
) -> anyhow::Result<Option<String>> {
    if !arguments.worker.uses_sandbox()? {
        return Ok(None);
    }
    let listener = admin::bind(&arguments.worker.sandbox_listen)
        .await
        .context("starting the Stripe sandbox (SANDBOX_LISTEN)")?;
    let address = listener.local_addr()?;
    let options = stripe_sandbox::Options {
        file: Some(layout::sandbox_file(&arguments.data_dir)),
        ..Default::default()
    };
    // A large file takes some time to read, and a signal is to end that too.
    let opening = tokio::task::spawn_blocking(|| Sandbox::open(options));
    let sandbox = opening
        .await
        .map_err(anyhow::Error::new)
        .flatten()
        .context("opening the Stripe sandbox")?;
    supervisor.spawn("stripe-sandbox", sandbox.run(listener, supervisor.stop()));
    // The port that was asked for may have been 0.
    arguments.worker.sandbox_listen = address.to_string();
    Ok(Some(format!("http://{address}")))
}
