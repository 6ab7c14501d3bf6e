//! Roles of PostgreSQL that lack something.

use platform::config::Secret;
use platform::test_support::{TestDatabase, postgres};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{part, server_at, until_page};

/// A role of one test, with nothing granted on the tables; dropped by [`Role::dropped`].
struct Role {
    name: String,
    url: Secret,
}

impl Role {
    async fn new(database: &TestDatabase) -> Self {
        let name = format!("r_{}", Uuid::new_v4().simple());
        let password = Uuid::new_v4().simple();
        run(
            database,
            &format!("create role {name} login password '{password}'"),
        )
        .await;
        let (scheme, rest) = database.url.expose().split_once("://").unwrap();
        let host = rest.split_once('@').map_or(rest, |(_, host)| host);
        Self {
            url: Secret::new(format!("{scheme}://{name}:{password}@{host}")),
            name,
        }
    }

    async fn grant(&self, database: &TestDatabase, what: &str) {
        run(database, &format!("grant {what} to {}", self.name)).await;
    }

    async fn revoke(&self, database: &TestDatabase, what: &str) {
        run(database, &format!("revoke {what} from {}", self.name)).await;
    }

    async fn dropped(self, database: &TestDatabase) {
        let name = &self.name;
        run(database, &format!("drop owned by {name}; drop role {name}")).await;
    }
}

async fn run(database: &TestDatabase, statement: &str) {
    let done = database.connection.execute_unprepared(statement).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Whatever else is granted: the check reads the schema and writes its own row first.
const SOME: [&str; 2] = [
    "select on all tables in schema public",
    "insert, update, delete on worker",
];

#[tokio::test(flavor = "multi_thread")]
async fn role_without_grants_is_not_ready_and_lists_them() {
    let database = postgres().await;
    let role = Role::new(&database).await;
    let server = server_at(&database, &role.url).await;
    let page = until_page(&server, 503, "grant").await;
    assert_eq!(part(&page, "database").0, "problem");
    for what in SOME {
        role.grant(&database, what).await;
    }
    let page = until_page(&server, 503, "INSERT ON customer").await;
    let detail = part(&page, "database").1;
    for missing in [
        "INSERT ON outbox",
        "UPDATE ON customer",
        "DELETE ON api_idempotency",
    ] {
        assert!(detail.contains(missing), "{detail}");
    }
    assert!(!detail.contains(" ON worker"), "{detail}");
    role.grant(
        &database,
        "select, insert, update, delete on all tables in schema public",
    )
    .await;
    role.grant(&database, "usage on all sequences in schema public")
        .await;
    until_page(&server, 200, "\"database\"").await;
    role.revoke(&database, "update on customer").await;
    until_page(&server, 503, "UPDATE ON customer").await;
    server.stopped().await;
    role.dropped(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn role_with_privileges_on_every_column_is_ready() {
    let database = postgres().await;
    let role = Role::new(&database).await;
    role.grant(
        &database,
        "select, insert, update, delete on all tables in schema public",
    )
    .await;
    role.grant(&database, "usage on all sequences in schema public")
        .await;
    role.revoke(&database, "insert on outbox").await;
    let columns = "customer_id, rev, kind, payload, traceparent, created_at, origin, fields, xid";
    role.grant(&database, &format!("insert ({columns}) on outbox"))
        .await;
    let server = server_at(&database, &role.url).await;
    until_page(&server, 503, "INSERT ON outbox").await;
    role.grant(&database, "insert (id) on outbox").await;
    until_page(&server, 200, "\"database\"").await;
    server.stopped().await;
    role.dropped(&database).await;
}
