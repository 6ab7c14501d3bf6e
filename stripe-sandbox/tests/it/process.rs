//! What outlives the process, the binary, the clock over HTTP.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Method;
use stripe_sandbox::{Options, Sandbox};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Account, KEY, Reply, manual, send};

const BINARY: &str = env!("CARGO_BIN_EXE_stripe-sandbox");

/// The binary on a free port.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    async fn start(file: &Path) -> Self {
        let mut child = Command::new(BINARY)
            .args(["--listen", "127.0.0.1:0", "--file"])
            .arg(file)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("it says where it listens before it ends");
            if let Some((_, url)) = line.split_once("listens on ") {
                return Self {
                    child,
                    url: url.trim().to_owned(),
                };
            }
        }
    }

    async fn post(&self, path: &str, key: &str, fields: &[(&str, &str)]) -> Reply {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}{path}", self.url)).bearer_auth(KEY);
        send(request.header("Idempotency-Key", key).form(fields)).await
    }
}

fn with_file(file: &Path) -> Options {
    Options {
        file: Some(file.to_owned()),
        ..manual()
    }
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("account.jsonl")
}

#[tokio::test]
async fn an_answered_write_outlives_a_kill() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut served = Served::start(&file(&folder)).await;
    let created = served
        .post(
            "/v1/customers",
            "k1",
            &[("email", "a@b.co"), ("metadata[x]", "1")],
        )
        .await;
    let path = format!("/v1/customers/{}", created.body["id"].as_str().unwrap());
    let updated = served.post(&path, "k2", &[("name", "B")]).await;
    served.child.start_kill().unwrap();
    served.child.wait().await.unwrap();

    let mut served = Served::start(&file(&folder)).await;
    let replayed = served
        .post(
            "/v1/customers",
            "k1",
            &[("email", "a@b.co"), ("metadata[x]", "1")],
        )
        .await;
    assert_eq!(
        (replayed.header("idempotent-replayed"), &replayed.body),
        (Some("true"), &created.body)
    );
    served.child.kill().await.unwrap();
    let sandbox = Sandbox::open(Options {
        file: Some(file(&folder)),
        ..Options::default()
    })
    .unwrap();
    assert_eq!(sandbox.customers(), [updated.body]);
    assert_eq!(sandbox.events().len(), 2);
}

#[tokio::test]
async fn a_restart_keeps_customers_events_keys_and_endpoints_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let before = Account::open(with_file(&file(&folder))).await;
    let first = before
        .post_keyed(
            "/v1/customers",
            "k",
            &[("name", "A"), ("address[city]", "X")],
        )
        .await;
    let other = before.create(&[("email", "b@b.co")]).await;
    before
        .post(&format!("/v1/customers/{other}"), &[("email", "c@b.co")])
        .await;
    before.delete(&format!("/v1/customers/{other}")).await;
    before
        .post(
            "/v1/webhook_endpoints",
            &[("url", "http://127.0.0.1:9"), ("enabled_events[]", "*")],
        )
        .await;
    let state = |account: &Account| (account.sandbox().customers(), account.sandbox().events());
    let expected = state(&before);
    before.running.stop().await.unwrap();

    let after = Account::open(with_file(&file(&folder))).await;
    assert_eq!(state(&after), expected);
    let replayed = after
        .post_keyed(
            "/v1/customers",
            "k",
            &[("name", "A"), ("address[city]", "X")],
        )
        .await;
    assert_eq!(
        (replayed.header("idempotent-replayed"), &replayed.body),
        (Some("true"), &first.body)
    );
    assert_eq!(
        after.get(&format!("/v1/customers/{other}")).await.body["deleted"],
        true
    );
    assert_eq!(after.get("/v1/webhook_endpoints").await.ids().len(), 1);
    let fresh = after.create(&[]).await;
    assert!(
        fresh != other && expected.0.iter().all(|it| it["id"] != fresh.as_str()),
        "no id is drawn twice"
    );
}

#[tokio::test]
async fn a_half_written_last_line_is_dropped_and_a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let sandbox = Sandbox::open(with_file(&path)).unwrap();
    sandbox.create_as_human(&[("name", "A")]).unwrap();
    drop(sandbox);
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{{\"customer\":{{\"id\"")).unwrap();
    let sandbox = Sandbox::open(with_file(&path)).unwrap();
    assert_eq!(sandbox.customer_count(), 1);
    sandbox.create_as_human(&[("name", "B")]).unwrap();
    drop(sandbox);
    assert_eq!(Sandbox::open(with_file(&path)).unwrap().customer_count(), 2);

    let damaged = whole.replacen("\"customer\"", "\"customer", 1);
    std::fs::write(&path, damaged).unwrap();
    let error = format!("{:#}", Sandbox::open(with_file(&path)).err().unwrap());
    assert!(
        error.contains("line 2 is damaged") && error.contains("account.jsonl"),
        "{error}"
    );
    std::fs::write(&path, "not a sandbox\n").unwrap();
    assert!(
        format!("{:#}", Sandbox::open(with_file(&path)).err().unwrap())
            .contains("no sandbox header")
    );
}

#[tokio::test]
async fn a_file_that_has_grown_far_beyond_its_account_is_compacted_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder);
    let options = || Options {
        max_events: 10,
        ..with_file(&path)
    };
    let sandbox = Sandbox::open(options()).unwrap();
    let created = sandbox.create_as_human(&[("name", "0")]).unwrap();
    let id = created["id"].as_str().unwrap();
    for number in 1..1200 {
        sandbox
            .edit_as_human(id, &[("name", &number.to_string())])
            .unwrap();
    }
    let state = (sandbox.customers(), sandbox.events());
    drop(sandbox);
    let sandbox = Sandbox::open(options()).unwrap();
    let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
    assert_eq!(lines(), 12, "a header, a customer, ten events");
    assert_eq!((sandbox.customers(), sandbox.events()), state);
    sandbox.edit_as_human(id, &[("name", "more")]).unwrap();
    assert_eq!(lines(), 13);
}

#[tokio::test]
async fn the_healthcheck_tells_by_its_exit_code() {
    let account = Account::manual().await;
    let address = account
        .running
        .url
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    let check = async || {
        Command::new(BINARY)
            .args(["healthcheck", "--listen", &address])
            .status()
            .await
            .unwrap()
    };
    assert!(check().await.success());
    account.running.stop().await.unwrap();
    assert_eq!(check().await.code(), Some(1));
}

#[tokio::test]
async fn the_clock_moves_over_http_only_when_it_is_manual() {
    let account = Account::manual().await;
    let advance = async |account: &Account| {
        let body = serde_json::json!({ "advance_seconds": 60 });
        send(
            account
                .anonymous(Method::POST, "/_sandbox/clock")
                .json(&body),
        )
        .await
    };
    assert_eq!(
        advance(&account).await.body["now"],
        crate::support::START + 60
    );
    let system = Account::open(Options::default()).await;
    assert_eq!(advance(&system).await.status, 409);
    assert_eq!(
        send(system.anonymous(Method::GET, "/_sandbox/health"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn account_is_the_one_that_it_is_started_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder);
    let run = |account: &str| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["load", "1", "--account", account, "--file"]);
        command.arg(&file).output().unwrap()
    };
    assert!(run("acct_1Other").status.success());
    let other = Options {
        account_id: "acct_1Other".to_owned(),
        ..with_file(&file)
    };
    assert_eq!(Sandbox::open(other).unwrap().customer_count(), 1);
    let refused = run("acct_1Another");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("acct_1Other"), "{said}");
    assert_eq!(run("1Other").status.code(), Some(2));
}
