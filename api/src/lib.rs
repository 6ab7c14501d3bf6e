//! HTTP request → transaction: the customer row and its outbox row, committed before the answer. It needs a database
//! and nothing else; broker, Stripe and workers may be down.

mod attention;
mod auth;
mod body;
mod changes;
mod config;
mod customers;
mod database;
mod gate;
mod header;
mod health;
mod idempotency;
mod openapi;
mod problem;
mod query;
mod request;
mod services;
mod serving;
mod status;
mod webhook;

use std::sync::Arc;

use anyhow::Context;
use entity::email;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::admin::{self, Pages};
use platform::clock::Clock;
use platform::database::Database;
use platform::health::Health;
use platform::http::site::Hosts;
use platform::http::{Server, acceptor};
use platform::supervisor::Supervisor;
use platform::wake::Wake;
use poem::http::Method;
use poem::{Endpoint, IntoEndpoint, Response, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use auth::Keys;
pub use config::Config;
pub use idempotency::{KEPT, prune_once};
pub use serving::Serving;
pub use webhook::WebhookSecrets;

use attention::{Conflicts, Deletions, Parked, Unmatched};
use changes::Changes;
use customers::{Batch, Customers, Original, Resource};
use gate::Gate;
use health::Readiness;
use openapi::Slashed;
use request::{Observed, Routes};
use status::Overview;
use webhook::Webhook;

/// What the API works with.
#[derive(Clone)]
pub struct App {
    pub db: Database,
    pub clock: Clock,
    /// Woken after every commit of a change.
    pub wake: Wake,
    /// Woken after every commit of an event that a webhook brought.
    pub inbox: Wake,
    pub health: Health,
    pub metrics: PrometheusHandle,
    /// Who is let in.
    pub keys: Keys,
    /// The hosts that it may be called by.
    pub hosts: Hosts,
    /// Those of Stripe's webhook endpoints; without any, no webhook is taken.
    pub webhook_secrets: WebhookSecrets,
    /// Which valid e-mails are rejected.
    pub email_policy: email::Policy,
}

impl App {
    /// What an admin port shows of it.
    pub fn pages(&self, stop: CancellationToken) -> Pages {
        Pages {
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            stop,
        }
    }
}

/// Starts the API as its settings say, with `reserved` file descriptors left to other parts of the process, and its
/// admin port.
///
/// # Errors
/// When the admin port can't be listened on.
pub async fn start(
    supervisor: &mut Supervisor,
    config: &Config,
    listener: TcpListener,
    app: App,
    reserved: usize,
) -> anyhow::Result<()> {
    let (server, stop) = (config.serving.server(reserved), supervisor.stop());
    if let Some(address) = config.admin_listen() {
        let listener = admin::bind(address).await?;
        let pages = app.pages(stop.clone());
        supervisor.spawn_last("admin", |end| admin::serve(listener, pages, end));
    }
    supervisor.spawn("api", run(listener, app, server, stop));
    Ok(())
}

/// Serves the API until `stop`, then drains.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    listener: TcpListener,
    app: App,
    server: Server,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (db, clock) = (app.db.clone(), app.clock.clone());
    let readiness = Readiness::new(db.clone(), clock.clone(), &app.health);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "taking requests");
    }
    let serve = async {
        let routes = routes_until(app, stop.clone());
        let serving = server.run(acceptor(listener)?, routes, stop.clone());
        serving.await.context("serving requests")
    };
    // A database that does not answer holds up no stop.
    let watch = async {
        let watch = readiness.watch();
        stop.run_until_cancelled(watch).await.unwrap_or(Ok(()))
    };
    let prune = async {
        let prune = idempotency::prune(db.clone(), clock, stop.clone());
        stop.run_until_cancelled(prune).await.unwrap_or(Ok(()))
    };
    tokio::try_join!(serve, watch, prune)?;
    Ok(())
}

/// Everything that `run` serves, for tests.
pub fn routes(app: App) -> impl Endpoint<Output = Response> {
    routes_until(app, CancellationToken::new())
}

/// The spec, as it is served at /openapi.json.
pub fn spec() -> String {
    let customers = |db| Customers {
        db,
        clock: Clock::system(),
        wake: Wake::default(),
        email_policy: email::Policy::default(),
        stop: CancellationToken::new(),
    };
    openapi::document(&openapi::service(api(customers(Database::default()))))
}

fn routes_until(app: App, stop: CancellationToken) -> impl Endpoint<Output = Response> {
    let pages = app.pages(stop.clone());
    let webhook = Webhook {
        db: app.db.clone(),
        clock: app.clock.clone(),
        secrets: Arc::new(app.webhook_secrets),
        inbox: app.inbox,
    };
    let api = api(Customers {
        db: app.db,
        clock: app.clock,
        wake: app.wake,
        email_policy: app.email_policy,
        stop,
    });
    let routes = Routes::of_api(api.clone()).with(webhook::PATH, &Method::POST);
    let service = openapi::service(api);
    let open = pages.routes().at(webhook::PATH, post(webhook));
    let open = openapi::routes(open, &service);
    let gate = Gate {
        keys: app.keys,
        hosts: app.hosts,
        api: service.into_endpoint(),
        open,
    };
    Observed::new(gate, routes)
}

fn api(customers: Customers) -> Api {
    (
        Resource(customers.clone()),
        Batch(customers.clone()),
        Changes(customers.clone()),
        Parked(customers.clone()),
        Conflicts(customers.clone()),
        Unmatched(customers.clone()),
        Deletions(customers.clone()),
        Overview(customers.clone()),
        Slashed(Original(customers)),
    )
}

type Api = (
    Resource,
    Batch,
    Changes,
    Parked,
    Conflicts,
    Unmatched,
    Deletions,
    Overview,
    Slashed<Original>,
);
