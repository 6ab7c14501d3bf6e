//! What a model runs on: every service as it is, with clocks that only the model moves and a broker that
//! the model stands in.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use entity::message::{DOWNSYNC, EXCHANGE, QUEUES, UPSYNC};
use outbox_relay::{Components, LEASE, Options as RelayOptions, Relay};
use platform::broker::{Broker, Consumer, Topology};
use platform::clock::Clock;
use platform::config::Secret;
use platform::database::Database;
use platform::health::Health;
use platform::http::site::Hosts;
use platform::lease::Lease;
use platform::steps::Steps;
use platform::wake::Wake;
use platform::{telemetry, test_support};
use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Response};
use rand::RngExt;
use rand::rngs::StdRng;
use stripe_sandbox::Running;
use sync_worker::engine::Engine;
use sync_worker::policy::{DeleteCap, LinkByEmail, OnDelete, Policy};
use sync_worker::stripe::{Options, Stripe};
use sync_worker::{Gauge, LaneState};
use tokio::time::Instant;

use super::gate::Gate;

const START: i64 = 1_800_000_000;

/// A relay is dead for so long before another one takes over.
pub(super) const RELAY_LEASE: Duration = Duration::from_secs(120);

pub(super) struct World {
    pub(super) db: Database,
    pub(super) clock: Clock,
    pub(super) sandbox: Running,
    /// One on SQLite, which belongs to one process; two where the model plays servers.
    pub(super) workers: Vec<Engine>,
    pub(super) relays: Vec<(Relay, Lease)>,
    pub(super) api: BoxEndpoint<'static, Response>,
    pub(super) gate: Gate,
    /// Carries what is published to the model, which confirms it or not.
    pub(super) inbound: Inbound,
    /// Carries to the workers what the model delivers.
    pub(super) outbound: Broker,
    pub(super) health: Health,
}

pub(super) struct Inbound {
    pub(super) changes: Consumer,
    pub(super) drifts: Consumer,
    pub(super) broker: Broker,
}

/// The API, which wakes nobody here.
fn routes(db: &Database, clock: &Clock) -> BoxEndpoint<'static, Response> {
    let app = api::App {
        db: db.clone(),
        clock: clock.clone(),
        wake: Wake::default(),
        inbox: Wake::default(),
        health: Health::new(),
        metrics: telemetry::metrics().unwrap(),
        keys: api::Keys::parse(&Secret::new("")),
        hosts: Hosts::default(),
        webhook_secrets: api::WebhookSecrets::default(),
        email_policy: entity::email::Policy::default(),
    };
    api::routes(app).boxed()
}

impl World {
    pub(super) async fn new(rng: &mut StdRng) -> Self {
        let start = DateTime::from_timestamp(START, 0).unwrap();
        let clock = Clock::manual(start);
        // Nobody's clock is Stripe's.
        let skew = chrono::Duration::seconds(rng.random_range(-90..=90));
        let sandbox = stripe_sandbox::start(stripe_sandbox::Options {
            clock: stripe_sandbox::Clock::manual(start + skew),
            seed: Some(rng.random()),
            ..stripe_sandbox::Options::default()
        });
        let sandbox = sandbox.await.unwrap();
        let db = test_support::sqlite_in_memory().await;
        let gate = Gate::default();
        let steps = Steps::scripted(Arc::new(gate.clone()));
        let topology = Topology {
            exchange: EXCHANGE,
            queues: &QUEUES,
        };
        let broker = Broker::in_process(&topology);
        let policy = policy(rng);
        let count = rng.random_range(1..=2);
        let stripe = client(&sandbox.url);
        let engine = || Engine {
            db: db.clone(),
            clock: clock.clone(),
            stripe: stripe.clone(),
            policy,
            lane: LaneState::default(),
            steps: steps.clone(),
            gauge: Gauge::default(),
        };
        let health = Health::new();
        let relay = || Relay {
            db: db.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            wake: Wake::default(),
            health: Components::new(&health),
            options: RelayOptions {
                window: 4,
                lease_ttl: RELAY_LEASE,
                ..RelayOptions::default()
            },
            steps: steps.clone(),
        };
        Self {
            workers: (0..count).map(|_| engine()).collect(),
            relays: (0..count).map(|_| (relay(), lease())).collect(),
            api: routes(&db, &clock),
            inbound: Inbound {
                changes: broker.consumer(UPSYNC, u16::MAX).await.unwrap(),
                drifts: broker.consumer(DOWNSYNC, u16::MAX).await.unwrap(),
                broker,
            },
            outbound: Broker::in_process(&topology),
            db,
            clock,
            sandbox,
            gate,
            health,
        }
    }

    /// By the clock of the processes, which no step of the database's changes.
    pub(super) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    pub(super) fn later(&self, by: Duration) {
        self.clock.advance(by);
        assert!(self.sandbox.sandbox.options().clock.advance(by));
    }

    /// SQLite belongs to one process, which knows at its start that nobody else pushes.
    pub(super) fn is_alone(&self) -> bool {
        self.workers.len() == 1
    }
}

pub(super) fn lease() -> Lease {
    Lease::new(LEASE, RELAY_LEASE)
}

fn policy(rng: &mut StdRng) -> Policy {
    let owners = [
        "database",
        "stripe",
        "manual",
        "name=stripe,phone=manual",
        "description=stripe",
    ];
    let owners = owners[rng.random_range(0..owners.len())];
    let on_delete = |is_detach| match is_detach {
        true => OnDelete::Detach,
        false => OnDelete::Delete,
    };
    Policy {
        on_database_delete: on_delete(rng.random_bool(0.2)),
        on_stripe_delete: on_delete(rng.random_bool(0.2)),
        owners: owners.parse().unwrap(),
        link_by_email: match rng.random_bool(0.2) {
            true => LinkByEmail::Review,
            false => LinkByEmail::On,
        },
        delete_cap: DeleteCap {
            count: 100,
            percent: 100,
        },
        publish_imports: rng.random_bool(0.8),
        // One step at a time.
        slices_at_once: 1,
        ..Policy::default()
    }
}

/// A client with a rate that no model notices.
fn client(url: &str) -> Stripe {
    let mut options = Options::new(Secret::new("sk_test_model"), url);
    options.rate = 1_000_000.0;
    options.burst = 1_000_000;
    Stripe::new(options).unwrap()
}
