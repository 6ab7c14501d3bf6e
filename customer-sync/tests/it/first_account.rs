//! The step from the sandbox to a key of an account, in one data folder.

use std::path::Path;

use stripe_sandbox::{Options, Running};

use crate::client::{Client, until};
use crate::journey::System;
use crate::process::{Process, run};

/// A Stripe that plays an account of its own.
async fn stripe(account: &str) -> Running {
    let options = Options {
        account_id: account.to_owned(),
        ..Options::default()
    };
    stripe_sandbox::start(options).await.unwrap()
}

fn settings(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("DATA_DIR", folder.join("data").display().to_string()),
        ("API_LISTEN", "127.0.0.1:0".to_owned()),
        ("SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
        ("STRIPE_RATE", "1000".to_owned()),
    ]
}

fn with_key(folder: &Path, stripe: &Running) -> Vec<(&'static str, String)> {
    let mut settings = settings(folder);
    settings.push(("STRIPE_SECRET_KEY", "sk_test_own".to_owned()));
    settings.push(("STRIPE_API_BASE", stripe.url.clone()));
    settings
}

fn address(line: &str) -> String {
    let from = line.find("http://").unwrap();
    let address = line[from..].split(['/', ' ']).nth(2).unwrap();
    format!("http://{address}")
}

/// Runs the all-in-one with the sandbox and creates a customer there.
async fn play_with_the_sandbox(folder: &Path, email: &str) {
    let mut process = Process::start("customer-sync", folder, &settings(folder));
    let api = Client::api(&address(&process.line_with("  API ")));
    let sandbox = Client::sandbox(&address(&process.line_with("  Sandbox ")));
    let system = System { api, sandbox };
    let id = system.create("Ada", email).await;
    system.is_synced(&id).await;
    assert!(process.terminate().success());
}

#[tokio::test]
async fn own_key_after_the_sandbox_starts_with_its_own_data() {
    let folder = tempfile::tempdir().unwrap();
    play_with_the_sandbox(folder.path(), "ada@example.com").await;
    let stripe = stripe("acct_1Own").await;
    let settings = with_key(folder.path(), &stripe);
    let mut process = Process::start("customer-sync", folder.path(), &settings);
    let api = Client::api(&address(&process.line_with("  API ")));
    let unused = process.line_with("  Not used ");
    assert!(unused.contains("sandbox.db"), "{unused}");
    let sandbox = Client::sandbox(&stripe.url);
    let system = System { api, sandbox };
    let id = system.create("Grace", "grace@example.com").await;
    system.is_synced(&id).await;
    let names: Vec<String> = stripe
        .sandbox
        .customers()
        .iter()
        .map(|customer| customer["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["Grace"], "the sandbox's customers stay there");
    assert!(process.terminate().success());
    // And back.
    play_with_the_sandbox(folder.path(), "alan@example.com").await;
}

#[tokio::test]
async fn data_of_an_older_version_stay_the_sandboxs() {
    let folder = tempfile::tempdir().unwrap();
    play_with_the_sandbox(folder.path(), "ada@example.com").await;
    let data = folder.path().join("data");
    let (old, new) = (data.join("customer-sync.db"), data.join("sandbox.db"));
    std::fs::rename(&new, &old).unwrap();
    let (code, _, said) = crate::process::outcome(
        "customer-sync",
        &["export"],
        &with_key(folder.path(), &stripe("acct_1Own").await),
    );
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("is the sandbox's"), "{said}");
    assert!(new.is_file() && !old.exists());
    let (code, exported, said) =
        crate::process::outcome("customer-sync", &["export"], &settings(folder.path()));
    assert_eq!(code, 0, "{said}");
    assert!(exported.contains("ada@example.com"), "{exported}");
}

#[tokio::test]
async fn older_data_of_an_account_are_not_given_to_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let stripe = stripe("acct_1Own").await;
    let settings = with_key(folder.path(), &stripe);
    let mut process = Process::start("customer-sync", folder.path(), &settings);
    let api = Client::api(&address(&process.line_with("  API ")));
    let sandbox = Client::sandbox(&stripe.url);
    let system = System { api, sandbox };
    let id = system.create("Grace", "grace@example.com").await;
    system.is_synced(&id).await;
    assert!(process.terminate().success());
    let data = folder.path().join("data");
    std::fs::write(data.join("sandbox.jsonl"), "").unwrap();
    let (code, said) = run("customer-sync", &["export"], &self::settings(folder.path()));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("set STRIPE_SECRET_KEY"), "{said}");
    assert!(data.join("customer-sync.db").is_file());
}

#[tokio::test]
async fn key_of_another_account_is_one_line_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("named.db").display());
    let log = folder.path().join("customer-sync.log");
    for account in ["acct_1First", "acct_1Second"] {
        let stripe = stripe(account).await;
        let mut settings = with_key(folder.path(), &stripe);
        settings.push(("DATABASE_URL", url.clone()));
        std::fs::write(&log, "").unwrap();
        let mut process = Process::start("customer-sync", folder.path(), &settings);
        let api = Client::api(&address(&process.line_with("  API ")));
        if account == "acct_1First" {
            api.up("/health/ready").await;
        } else {
            until("health names the remedy", async || {
                let (_, health) = api.get("/health/ready").await;
                let text = health.to_string();
                let has_all = ["acct_1First", "acct_1Second", "DATABASE_URL"]
                    .iter()
                    .all(|part| text.contains(part));
                has_all.then_some(())
            })
            .await;
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        assert!(process.terminate().success());
    }
    let text = std::fs::read_to_string(&log).unwrap();
    let lines = text.lines().filter(|line| line.contains("acct_1First"));
    assert_eq!(lines.count(), 1, "{text}");
}
