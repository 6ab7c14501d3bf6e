//! Readiness: what the API needs for a write, and what it reports of the other services.

mod role;

use std::time::Duration;

use chrono::{DateTime, Utc};
use migration::{Migrator, MigratorTrait};
use platform::clock::Clock;
use platform::config::Secret;
use platform::database::{connect, now};
use platform::heartbeat::{self, Problem, Report, Role};
use platform::test_support::{TestDatabase, each_database, postgres, sqlite, until};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use uuid::Uuid;

use crate::client::{Api, app};
use crate::server::Server;

const LIMIT: Duration = Duration::from_secs(30);

/// Waits until the page has this status and `part` in it, and returns it.
async fn until_page(server: &Server, status: u16, part: &str) -> Value {
    let what = format!("readiness is {status}: {part}");
    until(&what, LIMIT, async || {
        let answer = server.get("/health/ready").await;
        let is_so = answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(part);
        is_so.then(|| serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok())?
    })
    .await
}

/// A part of the page: its status, and what it reports.
fn part(page: &Value, name: &str) -> (String, String) {
    let parts = page["components"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == name).unwrap();
    let text = |member: &str| part[member].as_str().unwrap_or_default().to_owned();
    (text("status"), text("detail"))
}

/// A server on the same database by other means.
async fn server_at(database: &TestDatabase, url: &Secret) -> Server {
    let mut app = app(database, "");
    app.db = connect(url, 4).await.unwrap();
    Server::of(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn api_without_tables_is_not_ready_and_says_migrate() {
    each_database(async |database| {
        let server = Server::start(&database).await;
        until_page(&server, 200, "\"database\"").await;
        let pool = database.connection.connection();
        // Taken back one after the other, and then not even the table of migrations is left.
        Migrator::down(&pool, Some(1)).await.unwrap();
        let older = until_page(&server, 503, "older").await;
        let (status, detail) = part(&older, "database");
        assert_eq!(status, "problem");
        assert!(detail.contains("run `migration up`"), "{detail}");
        Migrator::down(&pool, None).await.unwrap();
        until_page(&server, 503, "does not have the tables").await;
        let drop = "drop table seaql_migrations";
        database.connection.execute_unprepared(drop).await.unwrap();
        let none = until_page(&server, 503, "does not have the tables").await;
        assert!(part(&none, "database").1.contains("run `migration up`"));
        Migrator::up(&pool, None).await.unwrap();
        until_page(&server, 200, "\"database\"").await;
        server.stopped().await;
    })
    .await;
}

/// A schema that gets newer under a running process is a deployment under way: it serves until it is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn newer_schema_degrades_running_api_and_refuses_new_one() {
    each_database(async |database| {
        let running = Server::start(&database).await;
        until_page(&running, 200, "\"database\"").await;
        let newer = "insert into seaql_migrations (version, applied_at) \
            values ('m20991231_999999_later', 0)";
        database.connection.execute_unprepared(newer).await.unwrap();
        let page = until_page(&running, 200, "m20991231_999999_later").await;
        assert_eq!(page["degraded"], true);
        assert_eq!(part(&page, "schema").0, "degraded");
        running.stopped().await;
        let started = Server::start(&database).await;
        let page = until_page(&started, 503, "m20991231_999999_later").await;
        assert!(part(&page, "database").1.contains("update this program"));
        started.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_postgres_is_not_ready_until_writes_succeed() {
    let database = postgres().await;
    let server = server_at(&database, &database.url).await;
    until_page(&server, 200, "\"database\"").await;
    let set = async |value: &str| {
        // In a session of its own that may write whatever the default is.
        let admin = connect(&database.url, 1).await.unwrap();
        let statement = format!(
            "do $$ begin execute format('alter database %I set default_transaction_read_only = {value}', \
             current_database()); end $$"
        );
        for statement in [
            "set default_transaction_read_only = off",
            &statement,
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        ] {
            admin.execute_unprepared(statement).await.unwrap();
        }
        admin.close().await.unwrap();
    };
    set("on").await;
    let page = until_page(&server, 503, "read-only").await;
    assert_eq!(part(&page, "database").0, "problem");
    set("off").await;
    until_page(&server, 200, "\"database\"").await;
    server.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_sqlite_file_is_not_ready() {
    let database = sqlite().await;
    let url = Secret::new(format!("{}?mode=ro", database.url.expose()));
    let server = server_at(&database, &url).await;
    let page = until_page(&server, 503, "read-only").await;
    assert_eq!(part(&page, "database").0, "problem");
    server.stopped().await;
}

/// The time of the database that the app reads.
async fn time(database: &TestDatabase, clock: &Clock) -> DateTime<Utc> {
    now(&database.connection, clock).await.unwrap()
}

async fn beat(database: &TestDatabase, role: Role, problem: Option<Problem>, at: DateTime<Utc>) {
    let report = Report {
        problems: problem.into_iter().collect(),
    };
    let process = (Uuid::new_v4(), role);
    heartbeat::beat(&database.connection, process, report, at)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_services_degrade_the_api_and_are_named() {
    each_database(async |database| {
        let app = app(&database, "");
        let clock = app.clock.clone();
        let server = Server::of(app).await;
        let page = until_page(&server, 200, "no worker has run").await;
        assert_eq!(page["degraded"], true);
        assert_eq!(part(&page, "relays").0, "degraded");
        let at = time(&database, &clock).await;
        beat(&database, Role::Worker, None, at - Duration::from_secs(60)).await;
        let problem = Problem {
            component: "relay broker".to_owned(),
            code: None,
            detail: "RabbitMQ is away".to_owned(),
            since: at,
            next_attempt_at: None,
        };
        beat(&database, Role::Relay, Some(problem), at).await;
        let page = until_page(&server, 200, "no worker is alive since 20").await;
        assert!(part(&page, "workers").1.contains("start sync-worker"));
        let (status, detail) = part(&page, "relays");
        assert_eq!(status, "degraded");
        assert!(detail.contains("RabbitMQ is away"), "{detail}");
        beat(&database, Role::Worker, None, time(&database, &clock).await).await;
        let well = async || {
            let page = until_page(&server, 200, "\"workers\"").await;
            (part(&page, "workers").0 == "ok").then_some(())
        };
        until("the worker is alive", LIMIT, well).await;
        server.stopped().await;
    })
    .await;
}

#[tokio::test]
async fn status_lists_services_by_their_heartbeats() {
    each_database(async |database| {
        let api = Api::on(database);
        let at = time(&api.database, &api.clock).await;
        let problem = Problem {
            component: "upsync".to_owned(),
            code: Some("key_refused".to_owned()),
            detail: "Stripe refuses the key".to_owned(),
            since: at,
            next_attempt_at: Some(at + Duration::from_secs(10)),
        };
        beat(&api.database, Role::Worker, Some(problem), at).await;
        beat(&api.database, Role::Worker, None, at).await;
        let status = api.get("/api/v1/status").await.expect(200);
        let workers = &status["services"]["workers"];
        assert_eq!(workers["alive"], 2);
        assert_eq!(workers["problems"][0]["code"], "key_refused");
        assert_eq!(workers["problems"][0]["component"], "upsync");
        assert!(workers["problems"][0]["next_attempt_at"].is_string());
        assert!(workers["last_heartbeat_at"].is_string());
        let relays = &status["services"]["relays"];
        assert_eq!(relays["alive"], 0);
        assert_eq!(relays["last_heartbeat_at"], Value::Null);
    })
    .await;
}
