//! `cargo run`: everything in one process, on SQLite.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::client::{Client, until};
use crate::journey::System;
use crate::process::{Process, free_address, run};

/// A running process whose data are kept in a folder.
struct AllInOne {
    process: Process,
    system: System,
}

impl AllInOne {
    async fn start(folder: &Path, api: &str, sandbox: &str) -> Self {
        let settings = [
            ("DATA_DIR", folder.display().to_string()),
            ("API_LISTEN", api.to_owned()),
            ("SANDBOX_LISTEN", sandbox.to_owned()),
            ("DOWNSYNC_INTERVAL", "200ms".to_owned()),
            ("STRIPE_RATE", "1000".to_owned()),
        ];
        let mut process = Process::start("customer-sync", folder, &settings);
        let place = |line: String| {
            let from = line.find("http://").unwrap();
            let address = line[from..].split(['/', ' ']).nth(2).unwrap();
            format!("http://{address}")
        };
        let api = Client::api(&place(process.line_with("  API ")));
        let sandbox = Client::sandbox(&place(process.line_with("  Sandbox ")));
        api.up("/health/live").await;
        Self {
            process,
            system: System { api, sandbox },
        }
    }
}

#[tokio::test]
async fn a_customer_travels_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let running = AllInOne::start(folder.path(), "127.0.0.1:0", "127.0.0.1:0").await;
    running.system.goes_out().await;
    running.system.comes_home().await;
    let (status, health) = running.system.api.get("/health/ready").await;
    assert_eq!(status, StatusCode::OK, "{health}");
    assert!(running.process.terminate().success());
}

#[tokio::test]
async fn a_customer_reaches_stripe_once_though_the_process_is_killed_after_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    // The same addresses again: the second life is the same installation.
    let (api, sandbox) = (free_address(), free_address());
    let mut ids = Vec::new();
    for life in 0..5 {
        let running = AllInOne::start(folder.path(), &api, &sandbox).await;
        for n in 0..5 {
            let email = format!("life{life}.{n}@example.com");
            ids.push(running.system.create("Somebody", &email).await);
        }
        running.process.kill();
    }
    let running = AllInOne::start(folder.path(), &api, &sandbox).await;
    for id in &ids {
        running.system.sandbox.one_of_row(id, |_| true).await;
        running.system.is_synced(id).await;
    }
    let (_, list) = running.system.sandbox.get("/v1/customers?limit=100").await;
    assert_eq!(list["data"].as_array().unwrap().len(), ids.len());
}

#[tokio::test]
async fn edits_made_here_while_stripe_is_away_arrive_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (api, stripe) = (free_address(), free_address());
    let settings = [
        ("DATA_DIR", folder.path().display().to_string()),
        ("API_LISTEN", api.clone()),
        ("STRIPE_SECRET_KEY", "sk_test_sandbox".to_owned()),
        ("STRIPE_API_BASE", format!("http://{stripe}")),
        ("STRIPE_RATE", "1000".to_owned()),
    ];
    let _process = Process::start("customer-sync", folder.path(), &settings);
    let api = Client::api(&format!("http://{api}"));
    api.up("/health/live").await;
    let system = System {
        sandbox: Client::sandbox(&format!("http://{stripe}")),
        api,
    };
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(system.create("Away", &format!("away{n}@example.com")).await);
    }
    // The page that an operator opens says that something is wrong.
    until("health says that Stripe is away", async || {
        let (status, _) = system.api.get("/health/ready").await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    let sandbox = [("SANDBOX_LISTEN", stripe)];
    let _stripe = Process::start("stripe-sandbox", folder.path(), &sandbox);
    for id in &ids {
        system.sandbox.up("/_sandbox/health").await;
        system.sandbox.one_of_row(id, |_| true).await;
    }
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let _first = AllInOne::start(folder.path(), "127.0.0.1:0", "127.0.0.1:0").await;
    let settings = [
        ("DATA_DIR", folder.path().display().to_string()),
        ("API_LISTEN", "127.0.0.1:0".to_owned()),
        ("SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let (code, said) = run("customer-sync", &[], &settings);
    assert_eq!(code, 1);
    assert!(said.contains("another customer-sync uses"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn wrong_settings_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let base = [
        ("DATA_DIR", folder.path().display().to_string()),
        ("API_LISTEN", "127.0.0.1:0".to_owned()),
        ("SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    // 2: a value that cannot be read, as for every wrong argument; 1: one that does not fit its surroundings.
    for (name, value, exit_code) in [
        ("STRIPE_API_BASE", "not a url", 1),
        ("STRIPE_SECRET_KEY", "pk_test_x", 1),
        ("STRIPE_RATE", "0", 2),
        ("STRIPE_TIMEOUT", "1h", 2),
        ("DOWNSYNC_INTERVAL", "\"10s\"", 2),
        ("API_KEYS", ",", 1),
        ("API_LISTEN", "0.0.0.0:0", 1),
        ("AMQP_URL", "http://nowhere", 1),
        ("DATABASE_URL", "mysql://nowhere/x", 1),
    ] {
        let mut settings = base.to_vec();
        settings.retain(|(known, _)| *known != name);
        settings.push((name, value.to_owned()));
        let (code, said) = run("customer-sync", &[], &settings);
        assert_eq!(code, exit_code, "{name}: {said}");
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{name}: {said}");
    }
}

#[tokio::test]
async fn a_customer_cannot_be_made_of_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let running = AllInOne::start(folder.path(), "127.0.0.1:0", "127.0.0.1:0").await;
    let body = json!({"name": "x", "email": "nobody"});
    let (status, problem) = running
        .system
        .api
        .send(Method::POST, "/api/create-customer/", &body)
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["field"], "email", "{problem}");
}

/// The feed of changes is all that a follower has without RabbitMQ.
#[tokio::test]
async fn customers_that_a_pass_imports_are_in_the_feed() {
    let folder = tempfile::tempdir().unwrap();
    let (api, stripe) = (free_address(), free_address());
    let settings = [("SANDBOX_LISTEN", stripe.clone())];
    let _stripe = Process::start("stripe-sandbox", folder.path(), &settings);
    let sandbox = Client::sandbox(&format!("http://{stripe}"));
    sandbox.up("/_sandbox/health").await;
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        let form = [("email", email)];
        let (status, _) = sandbox.form(Method::POST, "/v1/customers", &form).await;
        assert_eq!(status, StatusCode::OK);
    }
    let settings = [
        ("DATA_DIR", folder.path().display().to_string()),
        ("API_LISTEN", api.clone()),
        ("STRIPE_SECRET_KEY", "sk_test_sandbox".to_owned()),
        ("STRIPE_API_BASE", format!("http://{stripe}")),
        ("DOWNSYNC_INTERVAL", "1h".to_owned()),
    ];
    let _process = Process::start("customer-sync", folder.path(), &settings);
    let api = Client::api(&format!("http://{api}"));
    api.up("/health/live").await;
    let changes = until("the imports are in the feed", async || {
        let (_, page) = api.get("/api/v1/changes").await;
        let changes = page["data"].as_array().cloned().unwrap_or_default();
        (changes.len() == 3).then_some(changes)
    })
    .await;
    for change in changes {
        assert_eq!(
            (&change["type"], &change["origin"], &change["rev"]),
            (&json!("created"), &json!("stripe"), &json!(1))
        );
    }
}
