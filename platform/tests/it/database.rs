//! What a connection and a transaction can rely on, on SQLite and on Postgres.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use platform::clock::Clock;
use platform::config::Secret;
use platform::database::{self, Database};
use platform::lease::Entity as Leases;
use platform::test_support::{TestDatabase, each_database, postgres, sqlite, until};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryResult, Statement};
use tokio::task::JoinSet;

use crate::proxy::{Mode, Proxy};

async fn one(db: &impl ConnectionTrait, sql: &str) -> QueryResult {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap()
}

pub(crate) async fn number(db: &impl ConnectionTrait, sql: &str) -> i64 {
    one(db, sql).await.try_get_by_index(0).unwrap()
}

pub(crate) async fn run(db: &impl ConnectionTrait, sql: &str) {
    db.execute_unprepared(sql).await.unwrap();
}

#[tokio::test]
async fn every_sqlite_connection_has_the_pragmas() {
    let database = sqlite().await;
    // Held at the same time, so that they are different connections.
    let mut connections = Vec::new();
    let connection = database.connection.connection();
    let pool = connection.get_sqlite_connection_pool();
    for _ in 0..5 {
        connections.push(pool.acquire().await.unwrap());
    }
    for connection in &mut connections {
        for (pragma, expected) in [
            ("synchronous", 2_i64),
            ("foreign_keys", 1),
            ("busy_timeout", 10_000),
        ] {
            let query = sea_orm::sqlx::AssertSqlSafe(format!("pragma {pragma}"));
            let value: i64 = sea_orm::sqlx::query_scalar(query)
                .fetch_one(&mut **connection)
                .await
                .unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
        let mode: String = sea_orm::sqlx::query_scalar("pragma journal_mode")
            .fetch_one(&mut **connection)
            .await
            .unwrap();
        assert_eq!(mode, "wal");
    }
}

#[tokio::test]
async fn a_sqlite_database_in_memory_stays_the_same_one() {
    let db = database::connect(&Secret::new("sqlite::memory:"), 16)
        .await
        .unwrap();
    run(&db, "create table counter (value integer not null)").await;
    let mut writers = JoinSet::new();
    for value in 0..20 {
        let db = db.clone();
        writers
            .spawn(async move { run(&db, &format!("insert into counter values ({value})")).await });
    }
    writers.join_all().await;
    assert_eq!(number(&db, "select count(*) from counter").await, 20);
}

pub(crate) async fn increment(db: &Database) {
    let tx = database::begin(db).await.unwrap();
    let lock = if db.get_database_backend() == DbBackend::Postgres {
        "for update"
    } else {
        ""
    };
    let value = number(&tx, &format!("select value from counter {lock}")).await;
    // The others get their chance between the read and the write.
    tokio::task::yield_now().await;
    run(&tx, &format!("update counter set value = {}", value + 1)).await;
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_read_then_write_transactions_all_succeed() {
    each_database(async |database: TestDatabase| {
        run(
            &database.connection,
            "create table counter (value bigint not null)",
        )
        .await;
        run(&database.connection, "insert into counter values (0)").await;
        let mut writers = JoinSet::new();
        for _ in 0..20 {
            let db = database.connection.clone();
            writers.spawn(async move {
                for _ in 0..10 {
                    increment(&db).await;
                }
            });
        }
        writers.join_all().await;
        assert_eq!(
            number(&database.connection, "select value from counter").await,
            200
        );
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_nothing() {
    each_database(async |database: TestDatabase| {
        let tx = database::begin(&database.connection).await.unwrap();
        let insert = "insert into lease (name, owner, epoch, expires_at) \
            values ('a', 'b', 1, '2026-01-01T00:00:00Z')";
        run(&tx, insert).await;
        drop(tx);
        assert_eq!(Leases::find().count(&database.connection).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn on_sqlite_now_is_what_the_clock_says_in_microseconds() {
    let database = sqlite().await;
    let start: DateTime<Utc> = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
    let clock = Clock::manual(start);
    let now = database::now(&database.connection, &clock).await.unwrap();
    assert_eq!(now, start.trunc_subsecs(6));
    clock.advance(Duration::from_secs(1));
    let later = database::now(&database.connection, &clock).await.unwrap();
    assert_eq!(later - now, chrono::Duration::seconds(1));
}

#[tokio::test]
async fn on_postgres_now_is_the_server_s_time_and_moves_within_a_transaction() {
    let database = postgres().await;
    let wrong = Clock::manual(DateTime::UNIX_EPOCH);
    let tx = database::begin(&database.connection).await.unwrap();
    let first = database::now(&tx, &wrong).await.unwrap();
    let second = database::now(&tx, &wrong).await.unwrap();
    assert!(first > DateTime::UNIX_EPOCH && second > first);
    assert_eq!(second, second.trunc_subsecs(6));
}

#[tokio::test]
async fn postgres_connections_have_a_timeout_and_a_name() {
    let database = postgres().await;
    let value = async |name: &str| -> String {
        one(&database.connection, &format!("show {name}"))
            .await
            .try_get_by_index(0)
            .unwrap()
    };
    assert_eq!(value("statement_timeout").await, "30s");
    // The locks of a client that died without a word.
    assert_eq!(value("idle_in_transaction_session_timeout").await, "15s");
    assert_eq!(value("tcp_keepalives_idle").await, "15");
    assert!(value("application_name").await.starts_with("it-"));
}

#[tokio::test]
async fn a_link_that_died_without_a_word_takes_no_place_of_the_pool_with_it() {
    let database = postgres().await;
    let url = database.url.expose();
    let server = url.split('@').nth(1).unwrap().split('/').next().unwrap();
    let proxy = Proxy::start(server.to_owned()).await;
    let url = url.replace(server, &proxy.address.to_string());
    let db = database::connect(&Secret::new(url), 1).await.unwrap();
    let ask = async || {
        let asking = db.execute_unprepared("select 1");
        let asked = tokio::time::timeout(Duration::from_millis(500), asking).await;
        asked.is_ok_and(|asked| asked.is_ok())
    };
    assert!(ask().await);
    proxy.set(Mode::Swallow);
    assert!(!ask().await);
    proxy.set(Mode::Pass);
    until(
        "the database answers again",
        Duration::from_secs(60),
        async || ask().await.then_some(()),
    )
    .await;
}

#[tokio::test]
async fn no_error_shows_the_url() {
    for url in [
        "postgres://me:hunter2@127.0.0.1:1/x",
        "postgres://me:hunter2@[::broken/x",
        "mysql://me:hunter2@127.0.0.1/x",
        "hunter2",
        "sqlite:/nowhere/hunter2/x.db",
    ] {
        let error = database::connect(&Secret::new(url), 1).await.unwrap_err();
        let words = format!("{error} {error:?}");
        assert!(!words.contains("hunter2"), "{words}");
    }
}

#[tokio::test]
async fn a_test_s_postgres_database_is_gone_when_it_is_dropped() {
    let (kept, dropped) = (postgres().await, postgres().await);
    let name = dropped.url.expose().rsplit('/').next().unwrap().to_owned();
    let count = format!("select count(*) from pg_database where datname = '{name}'");
    assert_eq!(number(&kept.connection, &count).await, 1);
    drop(dropped);
    assert_eq!(number(&kept.connection, &count).await, 0);
}

#[tokio::test]
async fn database_of_another_encoding_is_refused_with_its_name() {
    let server = postgres().await;
    let base = server.url.expose();
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let name = format!("encoded_{}", encoding.to_lowercase());
        let drop = format!("drop database if exists {name} with (force)");
        run(&server.connection, &drop).await;
        let create = format!(
            "create database {name} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
        );
        run(&server.connection, &create).await;
        let (start, query) = base.split_once('?').unwrap_or((base, ""));
        let (start, _) = start.rsplit_once('/').unwrap();
        let url = Secret::new(format!("{start}/{name}?{query}"));
        let error = database::connect(&url, 1).await.unwrap_err().to_string();
        assert!(
            error.contains(encoding) && error.contains("UTF8"),
            "{error}"
        );
        run(&server.connection, &drop).await;
    }
}
