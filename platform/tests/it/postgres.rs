//! Sessions of PostgreSQL under an operator's settings and limits.

use std::time::{Duration, Instant};

use platform::config::Secret;
use platform::database::{self, Database};
use platform::test_support::{TestDatabase, postgres, until};
use sea_orm::{ConnectionTrait, Statement};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::database::{number, run};

fn name(database: &TestDatabase) -> &str {
    database.url.expose().rsplit('/').next().unwrap()
}

async fn show(db: &Database, setting: &str) -> String {
    let sql = format!("show {setting}");
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn session_settings_do_not_depend_on_the_defaults() {
    let database = postgres().await;
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "TimeZone = 'Asia/Kolkata'",
        "DateStyle = 'SQL, DMY'",
        "statement_timeout = '1ms'",
        "search_path = 'elsewhere', 'public'",
    ] {
        let set = format!("alter database {} set {setting}", name(&database));
        run(&database.connection, &set).await;
    }
    let db = database::connect(&database.url, 1).await.unwrap();
    assert_eq!(show(&db, "transaction_isolation").await, "read committed");
    assert_eq!(show(&db, "TimeZone").await, "UTC");
    assert_eq!(show(&db, "DateStyle").await, "ISO, MDY");
    assert_eq!(show(&db, "statement_timeout").await, "30s");
    // An operator who keeps the tables in a schema of their own says so there.
    assert_eq!(show(&db, "search_path").await, "elsewhere, public");
}

#[tokio::test]
async fn refused_connection_names_address_and_cause_at_once() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let url = Secret::new(format!("postgres://me:hunter2@{address}/x"));
    let start = Instant::now();
    let error = database::connect(&url, 4).await.unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(3));
    for part in [&address.to_string(), "refused"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn silent_server_is_an_error_within_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://me@{}/x", silent.local_addr().unwrap());
    let start = Instant::now();
    let error = database::connect(&Secret::new(url), 4).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(9), "{error}");
    assert!(database::is_unavailable(&error), "{error}");
}

#[tokio::test]
async fn lazy_connection_waits_for_the_server() {
    let database = postgres().await;
    let missing = format!("later_{}", name(&database));
    let url = database.url.expose().replace(name(&database), &missing);
    let url = Secret::new(url);
    let error = database::connect(&url, 1).await.unwrap_err().to_string();
    assert!(error.contains(&missing), "{error}");
    let db = database::connect_lazy(&url, 1).await.unwrap();
    let error = db.execute_unprepared("select 1").await.unwrap_err();
    assert!(database::is_unavailable(&error), "{error}");
    run(&database.connection, &format!("create database {missing}")).await;
    assert_eq!(number(&db, "select 1::bigint").await, 1);
    db.close().await.unwrap();
    let drop = format!("drop database {missing} with (force)");
    run(&database.connection, &drop).await;
}

/// A handle of a role of its own, which may have so many connections.
async fn as_limited_role(database: &TestDatabase, limit: u32) -> (String, Database) {
    let role = format!("limited_{}", name(database));
    let create = format!("create role {role} login connection limit {limit}");
    run(&database.connection, &create).await;
    let (scheme, rest) = database.url.expose().split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    let url = Secret::new(format!("{scheme}://{role}@{place}"));
    (role, database::connect(&url, 16).await.unwrap())
}

/// Does 32 things at once; how many were done within five seconds.
async fn burst(db: &Database) -> usize {
    let mut running = JoinSet::new();
    for _ in 0..32 {
        let db = db.clone();
        running.spawn(async move {
            let work = db.execute_unprepared("select pg_sleep(0.01)");
            let done = tokio::time::timeout(Duration::from_secs(5), work).await;
            done.is_ok_and(|done| done.is_ok())
        });
    }
    let done = running.join_all().await;
    done.into_iter().filter(|done| *done).count()
}

async fn end(database: &TestDatabase, role: &str, db: Database) {
    db.close().await.unwrap();
    run(&database.connection, &format!("drop role {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_uses_no_more_connections_than_the_role_has() {
    let database = postgres().await;
    let (role, db) = as_limited_role(&database, 2).await;
    let start = Instant::now();
    assert_eq!(burst(&db).await, 32);
    assert!(start.elapsed() < Duration::from_secs(3));
    end(&database, &role, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_follows_the_connections_that_are_granted() {
    let database = postgres().await;
    let (role, db) = as_limited_role(&database, 16).await;
    assert_eq!(burst(&db).await, 32);
    let limit = format!("alter role {role} connection limit");
    let kill =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
    run(&database.connection, &format!("{limit} 3; {kill}")).await;
    until(
        "fewer connections do it all",
        Duration::from_secs(60),
        async || {
            let start = Instant::now();
            let done = burst(&db).await;
            (done == 32 && start.elapsed() < Duration::from_secs(2)).then_some(())
        },
    )
    .await;
    run(&database.connection, &format!("{limit} 16")).await;
    let sessions = format!("select count(*) from pg_stat_activity where usename = '{role}'");
    until("it uses more again", Duration::from_secs(60), async || {
        assert_eq!(burst(&db).await, 32);
        (number(&database.connection, &sessions).await > 3).then_some(())
    })
    .await;
    end(&database, &role, db).await;
}
