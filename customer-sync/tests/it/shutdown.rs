//! How the programs end by a signal, and what they do for clients until then.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::client::{Client, until};
use crate::process::{Process, free_address};

/// Far less than any time limit of a start.
const PROMPT: Duration = Duration::from_secs(5);

fn settings(folder: &Path) -> Vec<(&'static str, String)> {
    let free = || "127.0.0.1:0".to_owned();
    vec![
        ("DATA_DIR", folder.join("data").display().to_string()),
        ("AMQP_URL", "amqp://127.0.0.1:1".to_owned()),
        ("API_LISTEN", free()),
        ("ADMIN_LISTEN", free()),
        ("SANDBOX_LISTEN", free()),
        ("STRIPE_SANDBOX", "true".to_owned()),
    ]
}

#[test]
fn signal_during_the_start_ends_every_program() {
    let folder = tempfile::tempdir().unwrap();
    for program in [
        "api",
        "outbox-relay",
        "sync-worker",
        "customer-sync",
        "migration",
    ] {
        // As a database whose server hangs: connections are made, and nothing is ever answered.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://a:b@{}/c", silent.local_addr().unwrap());
        let mut settings = settings(folder.path());
        settings.push(("DATABASE_URL", url));
        let process = if program == "migration" {
            Process::start_with(program, &["up"], folder.path(), &settings)
        } else {
            Process::start(program, folder.path(), &settings)
        };
        let (_connection, _) = silent.accept().unwrap();
        let signalled = Instant::now();
        let status = process.terminate();
        assert!(
            signalled.elapsed() < PROMPT,
            "{program} took {:?}",
            signalled.elapsed()
        );
        // A job that was not done must not look as if it was.
        let expected = if program == "migration" {
            Some(1)
        } else {
            Some(0)
        };
        assert_eq!(status.code(), expected, "{program}: {status}");
    }
}

#[test]
fn sandbox_ends_by_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let settings = [("SANDBOX_LISTEN", address.clone())];
    let process = Process::start("stripe-sandbox", folder.path(), &settings);
    let deadline = Instant::now() + crate::process::PATIENCE;
    while TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < deadline, "the sandbox does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(process.terminate().code(), Some(0));
}

async fn all_in_one(process: &mut Process) -> Client {
    let line = process.line_with("  API ");
    let place = line
        .split_whitespace()
        .find(|word| word.starts_with("http://"));
    let api = Client::api(place.unwrap().trim_end_matches("/api/v1/customers"));
    api.up("/health/live").await;
    api
}

#[tokio::test]
async fn process_serves_while_it_is_drained_and_a_second_signal_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retain(|(name, _)| *name != "AMQP_URL");
    settings.push(("DRAIN_DELAY", "30s".to_owned()));
    let mut process = Process::start("customer-sync", folder.path(), &settings);
    let api = all_in_one(&mut process).await;
    process.signal();
    until("it is not ready", async || {
        let (status, body) = api.get("/health/ready").await;
        (status == StatusCode::SERVICE_UNAVAILABLE && body["status"] == "stopping").then_some(())
    })
    .await;
    assert_eq!(api.get("/health/live").await.0, StatusCode::OK);
    let body = json!({"email": "ada@example.com"});
    let (status, body) = api.send(Method::POST, "/api/v1/customers", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let signalled = Instant::now();
    let status = process.terminate();
    assert!(
        signalled.elapsed() < PROMPT,
        "it took {:?}",
        signalled.elapsed()
    );
    assert_eq!(status.code(), Some(1), "{status}");
}

#[tokio::test]
async fn few_descriptors_are_left_to_database_and_health() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retain(|(name, _)| *name != "AMQP_URL");
    settings.push(("DRAIN_DELAY", "0s".to_owned()));
    let mut process = Process::start_limited(256, "customer-sync", folder.path(), &settings);
    let api = all_in_one(&mut process).await;
    let address = api.base.trim_start_matches("http://");
    let idle: Vec<_> = (0..400)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    // A client that comes now; the one above may have lost its idle connection.
    let api = Client::api(&api.base);
    let body = json!({"email": "ada@example.com"});
    // None of them gives way before it has waited for a while.
    until("an idle connection gives way", async || {
        let (status, _) = api.send(Method::POST, "/api/v1/customers", &body).await;
        (status == StatusCode::CREATED).then_some(())
    })
    .await;
    for number in 0..20 {
        let (status, body) = api.get("/health/ready").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let body = json!({"email": format!("ada{number}@example.com")});
        let (status, body) = api.send(Method::POST, "/api/v1/customers", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }
    drop(idle);
    assert_eq!(process.terminate().code(), Some(0));
}
