//! Webhooks from end to end: the operator registers one, Stripe sends, and the change is home without a poll.

use std::time::{Duration, Instant};

use platform::test_support::{self, RabbitMq};
use reqwest::Method;
use stripe_sandbox::Fault;
use stripe_sandbox::fault::Kind;

use crate::client::Client;
use crate::journey::System;
use crate::process::{Process, free_address, outcome};

/// A Stripe of this test's own, and what the command says to it.
struct Stripe(stripe_sandbox::Running);

impl Stripe {
    async fn start() -> Self {
        Self(
            stripe_sandbox::start(stripe_sandbox::Options::default())
                .await
                .unwrap(),
        )
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("STRIPE_SECRET_KEY", "sk_test_operator".to_owned()),
            ("STRIPE_API_BASE", self.0.url.clone()),
            ("STRIPE_RATE", "1000".to_owned()),
        ]
    }

    async fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let settings = self.settings();
        let running = tokio::task::spawn_blocking(move || {
            let mut all = vec!["webhook"];
            all.extend(arguments.iter().map(String::as_str));
            outcome("customer-sync", &all, &settings)
        });
        running.await.unwrap()
    }

    fn client(&self) -> Client {
        Client::sandbox(&self.0.url)
    }
}

fn secret_in(said: &str) -> &str {
    let (_, secret) = said
        .trim_end()
        .split_once("STRIPE_WEBHOOK_SECRET=")
        .unwrap();
    secret
}

const URL: &str = "https://sync.example/stripe/webhook";

#[tokio::test]
async fn an_endpoint_is_made_once_found_again_and_put_right() {
    let stripe = Stripe::start().await;
    let (code, said, _) = stripe.command(&["status"]).await;
    assert_eq!((code, said.contains("register")), (2, true), "{said}");

    let (code, said, error) = stripe.command(&["register", "--url", URL]).await;
    assert_eq!(code, 0, "{error}");
    assert_eq!(said.lines().count(), 1);
    let secret = secret_in(&said).to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");

    let (code, said, _) = stripe.command(&["status", "--url", URL]).await;
    assert_eq!(
        (code, said.contains("customer.deleted")),
        (0, true),
        "{said}"
    );
    let (code, said, _) = stripe.command(&["register", "--url", URL]).await;
    assert_eq!(
        (code, said.contains("nothing was changed")),
        (0, true),
        "{said}"
    );
    assert!(!said.contains(&secret));

    // Somebody changes its events and disables it.
    let client = stripe.client();
    let (_, list) = client.get("/v1/webhook_endpoints").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    let path = format!(
        "/v1/webhook_endpoints/{}",
        list["data"][0]["id"].as_str().unwrap()
    );
    let change = [("disabled", "true"), ("enabled_events[0]", "*")];
    client.form(Method::POST, &path, &change).await;
    let (code, said, _) = stripe.command(&["status"]).await;
    assert_eq!(code, 2);
    assert!(
        said.contains("disabled") && said.contains("other events"),
        "{said}"
    );
    let (code, said, _) = stripe.command(&["register", "--url", URL]).await;
    assert_eq!((code, said.contains("put right")), (0, true), "{said}");
    assert_eq!(stripe.command(&["status"]).await.0, 0);
    let (_, list) = client.get("/v1/webhook_endpoints").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_that_may_not_manage_endpoints_is_said_to_be_one() {
    let stripe = Stripe::start().await;
    for (kind, word) in [
        (Kind::Forbidden, "Webhook Endpoints: write"),
        (Kind::Unauthorized, "refuses the key"),
    ] {
        stripe.0.sandbox.inject(Fault::always("*", kind));
        for arguments in [&["status"][..], &["register", "--url", URL]] {
            let (code, said, error) = stripe.command(arguments).await;
            assert_eq!((code, said.as_str()), (1, ""));
            assert!(error.contains(word), "{error}");
        }
        stripe.0.sandbox.clear_faults();
    }
    assert_eq!(stripe.command(&["status"]).await.0, 2);
}

/// Customers come home one after another; the next poll of the events is an hour away. Forty looks at the inbox that
/// nobody asked for would take thirty seconds.
async fn they_come_home(system: &System) {
    let come = async |name: String| {
        let email = format!("{name}@example.com");
        let new = [("name", name.as_str()), ("email", &email)];
        system
            .sandbox
            .form(Method::POST, "/v1/customers", &new)
            .await;
        system.row(&email, |row| row["name"] == name.as_str()).await
    };
    // The first look at everything is over.
    come("first".to_owned()).await;
    let started = Instant::now();
    for n in 0..40 {
        come(format!("n{n}")).await;
    }
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_webhook_is_home_without_a_poll_in_one_process() {
    let stripe = Stripe::start().await;
    let folder = tempfile::tempdir().unwrap();
    let api = free_address();
    let url = format!("http://{api}/stripe/webhook");
    let (code, said, error) = stripe.command(&["register", "--url", &url]).await;
    assert_eq!(code, 0, "{error}");
    let mut settings = stripe.settings();
    settings.extend([
        ("DATA_DIR", folder.path().display().to_string()),
        ("API_LISTEN", api.clone()),
        ("DOWNSYNC_INTERVAL", "1h".to_owned()),
        ("STRIPE_WEBHOOK_SECRET", secret_in(&said).to_owned()),
    ]);
    let _process = Process::start("customer-sync", folder.path(), &settings);
    let system = System {
        api: Client::api(&format!("http://{api}")),
        sandbox: stripe.client(),
    };
    system.api.up("/health/live").await;
    they_come_home(&system).await;
}

#[tokio::test]
async fn a_webhook_is_home_without_a_poll_through_every_service() {
    let stripe = Stripe::start().await;
    let rabbitmq = RabbitMq::own().await;
    let database = test_support::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let api = free_address();
    let url = format!("http://{api}/stripe/webhook");
    let (code, said, error) = stripe.command(&["register", "--url", &url]).await;
    assert_eq!(code, 0, "{error}");
    let database_url = database.url.expose().to_owned();
    let settings = [
        ("DATABASE_URL", database_url.clone()),
        ("API_LISTEN", api.clone()),
        ("STRIPE_WEBHOOK_SECRET", secret_in(&said).to_owned()),
    ];
    let mut processes = vec![Process::start("api", folder.path(), &settings)];
    for _ in 0..2 {
        let mut settings = stripe.settings();
        settings.extend([
            ("DATABASE_URL", database_url.clone()),
            ("AMQP_URL", rabbitmq.url.expose().to_owned()),
            ("ADMIN_LISTEN", free_address()),
            ("DOWNSYNC_INTERVAL", "1h".to_owned()),
        ]);
        processes.push(Process::start("sync-worker", folder.path(), &settings));
    }
    let system = System {
        api: Client::api(&format!("http://{api}")),
        sandbox: stripe.client(),
    };
    system.api.up("/health/live").await;
    they_come_home(&system).await;
}
