//! docs/permissions.md as it stands: its blocks are executed, every program works with what they grant, and what is
//! missing is named.

use platform::config::Secret;
use platform::database;
use platform::test_support::{self, RabbitMq, TestDatabase};
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::client::{Client, until};
use crate::process::{Process, free_address, outcome, run};
use crate::servers::Services;

const DOCUMENT: &str = include_str!("../../../docs/permissions.md");

/// The code blocks in a language, in their order.
fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    let blocks = DOCUMENT.split(&start).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// A database with the documented roles. Roles belong to the whole server, so the names in the blocks are replaced by
/// that of the database.
struct Roles {
    database: TestDatabase,
    name: String,
}

impl Roles {
    async fn new(database: TestDatabase) -> Self {
        let url = database.url.expose();
        let (_, name) = url.split('?').next().unwrap().rsplit_once('/').unwrap();
        let name = name.to_owned();
        let roles = Self { database, name };
        roles.execute(blocks("sql")[0]).await;
        roles
    }

    async fn execute(&self, statements: &str) {
        let statements = self.renamed(statements);
        let done = self.database.connection.execute_unprepared(&statements);
        done.await
            .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// The error of statements that a role may not execute.
    async fn refusal(&self, role: &str, statements: &str) -> String {
        let db = database::connect(&Secret::new(self.url(role)), 1).await;
        let db = db.unwrap();
        let done = db.execute_unprepared(statements).await;
        db.close().await.unwrap();
        done.expect_err(statements).to_string()
    }

    fn url(&self, role: &str) -> String {
        let (scheme, rest) = self.database.url.expose().split_once("://").unwrap();
        let place = rest.split_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{}:change-me@{place}", self.renamed(role))
    }

    fn renamed(&self, text: &str) -> String {
        text.replace("customer_sync", &self.name)
    }

    async fn dropped(self) {
        // Each by itself: the default privileges of one name the other, and PostgreSQL drops them once only.
        for role in ["customer_sync_run", "customer_sync_migrate"] {
            self.execute(&format!("drop owned by {role}; drop role {role}"))
                .await;
        }
    }
}

fn amqp_url(rabbitmq: &RabbitMq, user: &str) -> String {
    let url = rabbitmq.url_of(user, "change-me", "customer_sync");
    url.expose().to_owned()
}

/// Runs `outbox-relay declare` as a user.
fn declare(rabbitmq: &RabbitMq, user: &str) -> (i32, String) {
    let settings = [("AMQP_URL", amqp_url(rabbitmq, user))];
    run("outbox-relay", &["declare"], &settings)
}

#[tokio::test]
async fn documented_permissions_are_enough_for_every_program() {
    let roles = Roles::new(test_support::postgres_without_schema().await).await;
    let migrate = [("DATABASE_URL", roles.url("customer_sync_migrate"))];
    let (code, said) = run("migration", &["up"], &migrate);
    assert_eq!(code, 0, "{said}");
    roles.execute(blocks("sql")[1]).await;
    let rabbitmq = RabbitMq::own().await;
    rabbitmq.shell(blocks("sh")[0]).await;

    let (code, said) = declare(&rabbitmq, "customer_sync_run");
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    for part in [
        "the exchange customer-sync does not exist",
        "outbox-relay declare",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(blocks("sh")[1].contains("/customer_sync outbox-relay declare"));
    for user in ["customer_sync_declare", "customer_sync_run"] {
        let (code, said) = declare(&rabbitmq, user);
        assert_eq!(code, 0, "{said}");
    }

    let amqp_url = amqp_url(&rabbitmq, "customer_sync_run");
    let mut services = Services::start(&roles.url("customer_sync_run"), &amqp_url).await;
    services.start_stripe().await;
    services.system.goes_out().await;
    services.system.comes_home().await;
    let (status, changes) = services.system.api.get("/api/v1/changes").await;
    assert_eq!(status, StatusCode::OK, "{changes}");
    assert!(changes["data"].as_array().unwrap().len() > 5, "{changes}");
    until("every service is ready", async || {
        let (status, page) = services.system.api.get("/health/ready").await;
        (status == StatusCode::OK && page["degraded"] == false).then_some(())
    })
    .await;
    services.stop();
    commands_work(&roles, &services);
    drop(services);
    nothing_else_is_granted(&roles).await;
    roles.dropped().await;
}

/// The commands as the running role: one customer is imported, planned, applied and exported.
fn commands_work(roles: &Roles, services: &Services) {
    let path = |name: &str| services.folder.path().join(name).display().to_string();
    let settings = [
        ("DATABASE_URL", roles.url("customer_sync_run")),
        ("DATA_DIR", path("data")),
        ("STRIPE_SECRET_KEY", "sk_test_sandbox".to_owned()),
        ("STRIPE_API_BASE", services.system.sandbox.base.clone()),
    ];
    let (people, plan) = (path("people.jsonl"), path("plan.json"));
    std::fs::write(&people, r#"{"email": "mary@example.com"}"#).unwrap();
    let calls: [(&[&str], i32, &str); 4] = [
        (&["import", &people], 0, "1 created"),
        (&["plan", "--output", &plan], 2, "+ create in Stripe"),
        (&["apply", &plan], 0, "1 of 1 items done"),
        (&["export"], 0, "mary@example.com"),
    ];
    for (arguments, expected, part) in calls {
        let (code, shown, said) = outcome("customer-sync", arguments, &settings);
        assert_eq!(code, expected, "{arguments:?}: {shown}{said}");
        assert!(shown.contains(part), "{arguments:?}: {shown}{said}");
    }
    let status = [("DATABASE_URL", roles.url("customer_sync_run"))];
    let (code, said) = run("migration", &["status"], &status);
    assert_eq!(code, 0, "{said}");
}

/// The running role can use a table of a later migration, and cannot change the schema.
async fn nothing_else_is_granted(roles: &Roles) {
    for (role, statement) in [
        (
            "customer_sync_migrate",
            "create table later (id bigserial primary key)",
        ),
        ("customer_sync_run", "insert into later default values"),
        ("customer_sync_run", "delete from later"),
    ] {
        let db = database::connect(&Secret::new(roles.url(role)), 1)
            .await
            .unwrap();
        let done = db.execute_unprepared(statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        db.close().await.unwrap();
    }
    for (statement, refusal) in [
        ("create table mine (id int)", "permission denied for schema"),
        ("create temporary table mine (id int)", "permission denied"),
        ("drop table later", "must be owner"),
        ("truncate customer", "permission denied for table customer"),
        (
            "delete from seaql_migrations",
            "permission denied for table",
        ),
        ("delete from lease", "permission denied for table lease"),
        ("select nextval('moment_order')", "permission denied"),
    ] {
        let said = roles.refusal("customer_sync_run", statement).await;
        assert!(said.contains(refusal), "{statement}: {said}");
    }
    let public = "select 1 where has_function_privilege('public', 'next_moment()', 'execute')";
    let public = Statement::from_string(DbBackend::Postgres, public);
    let found = roles.database.connection.query_one_raw(public).await;
    assert!(found.unwrap().is_none());
}

/// On a database whose tables were there before the roles.
#[tokio::test]
async fn missing_grants_are_named_by_api_and_commands() {
    let roles = Roles::new(test_support::postgres().await).await;
    roles.execute(blocks("sql")[1]).await;
    let (address, folder) = (free_address(), tempfile::tempdir().unwrap());
    let settings = [
        ("DATABASE_URL", roles.url("customer_sync_run")),
        ("API_LISTEN", address.clone()),
    ];
    let process = Process::start("api", folder.path(), &settings);
    let api = Client::api(&format!("http://{address}"));
    api.up("/health/live").await;
    let ready = async |expected: StatusCode, part: &str| {
        until(&format!("readiness is {expected}: {part}"), async || {
            let (status, page) = api.get("/health/ready").await;
            (status == expected && page.to_string().contains(part)).then_some(())
        })
        .await;
    };
    ready(StatusCode::OK, "database").await;
    let revoked = "SELECT, UPDATE ON customer";
    roles
        .execute(&format!("revoke {revoked} from customer_sync_run"))
        .await;
    ready(
        StatusCode::SERVICE_UNAVAILABLE,
        "grant it SELECT ON customer, UPDATE ON customer",
    )
    .await;
    let (code, said) = run("customer-sync", &["export"], &settings[..1]);
    assert_eq!(code, 1, "{said}");
    let expected = "permission denied for table customer";
    assert!(said.contains(expected), "{said}");
    roles
        .execute(&format!("grant {revoked} to customer_sync_run"))
        .await;
    ready(StatusCode::OK, "database").await;
    drop(process);
    roles.dropped().await;
}
