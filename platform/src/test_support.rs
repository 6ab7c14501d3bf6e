//! Throwaway databases with the schema in them, and the bounded wait, for the tests of every crate.
//! It never skips: what a test needs and does not find is a panic that says how to get it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use migration::{Migrator, MigratorTrait};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::Secret;
use crate::database::{self, Database};

mod backup;
pub mod log;
mod rabbitmq;

pub use rabbitmq::{RabbitMq, rabbitmq_url};

/// Connections of a test's database: fewer than a process has, because many tests run at once on
/// one server.
const CONNECTIONS: u32 = 8;

/// A migrated database of this test alone; gone when it is dropped.
pub struct TestDatabase {
    pub connection: Database,
    pub url: Secret,
    _place: Place,
}

#[expect(dead_code, reason = "held for what happens when they are dropped")]
enum Place {
    Directory(TempDir),
    Server(Server),
}

struct Server {
    admin: Secret,
    name: String,
}

/// A fresh SQLite database, in a file.
pub async fn sqlite() -> TestDatabase {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let url = Secret::new(format!(
        "sqlite:{}",
        directory.path().join("test.db").display()
    ));
    TestDatabase::migrated(url, Place::Directory(directory)).await
}

/// A fresh SQLite database, in memory, with one connection.
pub async fn sqlite_in_memory() -> Database {
    let connection = database::connect(&Secret::new("sqlite::memory:"), 1)
        .await
        .expect("a database in memory opens");
    Migrator::up(&connection.connection(), None)
        .await
        .expect("the migrations run on a fresh database");
    connection
}

/// A fresh Postgres database, on the server of TEST_DATABASE_URL.
///
/// # Panics
/// When TEST_DATABASE_URL is not set, or its server can't be used.
pub async fn postgres() -> TestDatabase {
    let (url, place) = create_postgres().await;
    TestDatabase::migrated(url, place).await
}

/// The same without the schema.
///
/// # Panics
/// As [`postgres`].
pub async fn postgres_without_schema() -> TestDatabase {
    let (url, place) = create_postgres().await;
    TestDatabase::opened(url, place).await
}

async fn create_postgres() -> (Secret, Place) {
    let admin = variable("TEST_DATABASE_URL");
    let name = format!("test_{}", Uuid::new_v4().simple());
    administer(&admin, &format!("create database {name}"))
        .await
        .expect("the user of TEST_DATABASE_URL can create databases");
    let url = in_database(&admin, &name);
    (url, Place::Server(Server { admin, name }))
}

impl TestDatabase {
    async fn migrated(url: Secret, place: Place) -> Self {
        let database = Self::opened(url, place).await;
        Migrator::up(&database.connection.connection(), None)
            .await
            .expect("the migrations run on a fresh database");
        database
    }

    async fn opened(url: Secret, place: Place) -> Self {
        let connection = database::connect(&url, CONNECTIONS)
            .await
            .expect("the database of a test opens");
        Self {
            connection,
            url,
            _place: place,
        }
    }
}

/// Runs `test` on SQLite, then on Postgres, each on a database of its own.
pub async fn each_database<F>(test: F)
where
    F: AsyncFn(TestDatabase),
{
    on("SQLite", test(sqlite().await)).await;
    on("Postgres", test(postgres().await)).await;
}

async fn on(backend: &str, test: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(test).catch_unwind().await {
        eprintln!("the test failed on {backend}");
        resume_unwind(panic);
    }
}

/// Waits until `probe` has an answer.
///
/// # Panics
/// When it has none within `limit`; the message names `what`.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn variable(name: &str) -> Secret {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no command line to parse"
    )]
    let value = std::env::var(name);
    Secret::new(value.unwrap_or_else(|_| {
        panic!("{name} is not set: scripts/servers run cargo test … starts what the tests need")
    }))
}

/// The URL of another database on the same server.
fn in_database(server: &Secret, name: &str) -> Secret {
    let (base, query) = match server.expose().split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (server.expose(), String::new()),
    };
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..]
        .find('/')
        .map_or(base.len(), |at| authority + at);
    Secret::new(format!("{}/{name}{query}", &base[..end]))
}

async fn administer(server: &Secret, statement: &str) -> Result<(), sea_orm::DbErr> {
    let connection = database::connect(server, 1).await?;
    connection.execute_unprepared(statement).await?;
    connection.close().await
}

/// As far as it goes: a server that is gone has nothing left to drop.
impl Drop for Server {
    fn drop(&mut self) {
        let admin = self.admin.clone();
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A thread with a runtime of its own, because the test's may be ending, and can't be waited
        // on from here.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime
                .block_on(administer(&admin, &statement))
                .map_err(std::io::Error::other)
        });
        let _ = dropping.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_on_the_same_server_keeps_the_rest_of_the_url() {
        for (server, expected) in [
            (
                "postgres://me:pw@host:5432/postgres",
                "postgres://me:pw@host:5432/x",
            ),
            ("postgres://me@host", "postgres://me@host/x"),
            (
                "postgres://host/a?sslmode=disable&b=/",
                "postgres://host/x?sslmode=disable&b=/",
            ),
        ] {
            assert_eq!(in_database(&Secret::new(server), "x").expose(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "until it rains")]
    async fn a_wait_in_vain_names_what_it_waited_for() {
        until("it rains", Duration::from_secs(1), async || None::<()>).await;
    }
}
