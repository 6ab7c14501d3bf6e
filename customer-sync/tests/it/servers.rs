//! The services as processes of their own, on PostgreSQL and RabbitMQ.

use std::time::Instant;

use platform::test_support::{self, RabbitMq};
use serde_json::Value;

use crate::client::{Client, until};
use crate::journey::System;
use crate::process::{Process, free_address};

/// Every service, each in its own process; two of the relay and the worker.
pub(crate) struct Services {
    pub(crate) system: System,
    processes: Vec<Process>,
    sandbox: Option<Process>,
    sandbox_address: String,
    pub(crate) folder: tempfile::TempDir,
}

impl Services {
    pub(crate) async fn start(database_url: &str, amqp_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = database_url.to_owned();
        let (api, sandbox) = (free_address(), free_address());
        let mut processes = Vec::new();
        processes.push(Process::start(
            "api",
            folder.path(),
            &[
                ("DATABASE_URL", database_url.clone()),
                ("API_LISTEN", api.clone()),
            ],
        ));
        for program in ["outbox-relay", "sync-worker", "outbox-relay", "sync-worker"] {
            let settings = [
                ("DATABASE_URL", database_url.clone()),
                ("AMQP_URL", amqp_url.to_owned()),
                ("ADMIN_LISTEN", free_address()),
                ("SANDBOX_LISTEN", sandbox.clone()),
                ("STRIPE_SANDBOX", "true".to_owned()),
                ("DOWNSYNC_INTERVAL", "200ms".to_owned()),
                ("STRIPE_RATE", "1000".to_owned()),
            ];
            processes.push(Process::start(program, folder.path(), &settings));
        }
        let system = System {
            api: Client::api(&format!("http://{api}")),
            sandbox: Client::sandbox(&format!("http://{sandbox}")),
        };
        system.api.up("/health/live").await;
        Self {
            system,
            processes,
            sandbox: None,
            sandbox_address: sandbox,
            folder,
        }
    }

    /// Ends all but the sandbox.
    pub(crate) fn stop(&mut self) {
        self.processes.clear();
    }

    pub(crate) async fn start_stripe(&mut self) {
        let settings = [("SANDBOX_LISTEN", self.sandbox_address.clone())];
        self.sandbox = Some(Process::start(
            "stripe-sandbox",
            self.folder.path(),
            &settings,
        ));
        self.system.sandbox.up("/_sandbox/health").await;
    }
}

#[tokio::test]
async fn a_customer_travels_both_ways_through_every_service() {
    let rabbitmq = RabbitMq::own().await;
    let database = test_support::postgres().await;
    let mut services = Services::start(database.url.expose(), rabbitmq.url.expose()).await;
    services.start_stripe().await;
    services.system.goes_out().await;
    services.system.comes_home().await;
}

#[tokio::test]
async fn writes_go_on_while_rabbitmq_and_stripe_are_away_and_arrive_when_they_are_back() {
    let rabbitmq = RabbitMq::own().await;
    let database = test_support::postgres().await;
    let mut services = Services::start(database.url.expose(), rabbitmq.url.expose()).await;
    let before = services.system.create("Before", "before@example.com").await;
    rabbitmq.stop().await;
    let mut ids = vec![before];
    let started = Instant::now();
    for n in 0..200 {
        let email = format!("meanwhile{n}@example.com");
        ids.push(services.system.create("Meanwhile", &email).await);
    }
    // No write waited for anybody: two hundred, one after another, in far less than one timeout.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    services.start_stripe().await;
    rabbitmq.start().await;
    until("everything has arrived", async || {
        let (_, stats) = services.system.sandbox.get("/v1/customers?limit=100").await;
        let enough = stats["data"]
            .as_array()
            .is_some_and(|data| data.len() == 100);
        enough.then_some(())
    })
    .await;
    for id in &ids {
        services.system.is_synced(id).await;
    }
    let customers = all(&services.system.sandbox).await;
    assert_eq!(customers.len(), ids.len(), "each exactly once");
    for id in ids {
        let ours = |customer: &&Value| customer["metadata"]["customer_sync_id"] == id.as_str();
        assert_eq!(customers.iter().filter(ours).count(), 1);
    }
}

/// Every customer of the sandbox, page by page.
async fn all(sandbox: &Client) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = match all.last() {
            Some(last) => format!("&starting_after={}", last["id"].as_str().unwrap()),
            None => String::new(),
        };
        let (_, page) = sandbox
            .get(&format!("/v1/customers?limit=100{after}"))
            .await;
        all.extend(page["data"].as_array().cloned().unwrap_or_default());
        if page["has_more"] != true {
            return all;
        }
    }
}
