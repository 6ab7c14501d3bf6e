//! Pooled connections after failed statements and broken transactions.

use std::time::Duration;

use futures_util::FutureExt;
use platform::database::{self, Database};
use platform::test_support::{TestDatabase, each_database, postgres, sqlite, until};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::database::{number, run};

/// More than SQLite keeps in one page.
const LARGE_INSERT: &str = "insert into note values (zeroblob(100000))";
const COUNT: &str = "select count(*) from note";

/// A handle with one connection, and another handle on the same database.
async fn with_one_connection(database: &TestDatabase) -> Database {
    run(
        &database.connection,
        "create table note (value bytea not null)",
    )
    .await;
    database::connect(&database.url, 1).await.unwrap()
}

/// Lets the database grow no further, as a full disk does; for this connection only.
async fn fill_disk(db: &impl ConnectionTrait) {
    run(db, "pragma max_page_count = 1").await;
}

async fn insert_in_transaction(db: &Database, insert: &str) -> Result<(), DbErr> {
    let tx = database::begin(db).await?;
    tx.execute_unprepared(insert).await?;
    tx.commit().await
}

/// A61
#[tokio::test]
async fn sqlite_commits_after_full_disk_are_durable() {
    let database = sqlite().await;
    let db = with_one_connection(&database).await;
    fill_disk(&db).await;
    let error = insert_in_transaction(&db, LARGE_INSERT).await.unwrap_err();
    assert!(database::is_unavailable(&error), "{error}");

    insert_in_transaction(&db, LARGE_INSERT).await.unwrap();
    assert_eq!(number(&database.connection, COUNT).await, 1);
    // No lock is left behind, either.
    insert_in_transaction(&database.connection, LARGE_INSERT)
        .await
        .unwrap();
    assert_eq!(number(&db, COUNT).await, 2);
}

/// A61
#[tokio::test]
async fn sqlite_full_disk_in_abandoned_transaction_is_cleaned_up() {
    let database = sqlite().await;
    let db = with_one_connection(&database).await;
    fill_disk(&db).await;
    let tx = database::begin(&db).await.unwrap();
    // The caller is gone before the statement fails.
    let _ = tx.execute_unprepared(LARGE_INSERT).now_or_never();
    drop(tx);

    insert_in_transaction(&db, LARGE_INSERT).await.unwrap();
    assert_eq!(number(&database.connection, COUNT).await, 1);
}

/// A62
#[tokio::test]
async fn sqlite_connection_returned_in_transaction_is_closed() {
    let database = sqlite().await;
    let db = with_one_connection(&database).await;
    run(&db, &format!("begin immediate; {LARGE_INSERT}")).await;
    insert_in_transaction(&database.connection, LARGE_INSERT)
        .await
        .unwrap();
    assert_eq!(number(&database.connection, COUNT).await, 1);
}

#[tokio::test]
async fn sqlite_reports_a_failed_commit_of_a_single_statement() {
    let database = sqlite().await;
    let db = &database.connection;
    run(db, "create table parent (id integer primary key)").await;
    let child = "create table child (parent integer references parent (id) \
        deferrable initially deferred)";
    run(db, child).await;
    let insert = "insert into child values (1) returning parent";
    let statement = Statement::from_string(db.get_database_backend(), insert);
    db.query_one_raw(statement).await.unwrap_err();
    assert_eq!(number(db, "select count(*) from child").await, 0);
}

#[tokio::test]
async fn failed_statement_leaves_connection_usable() {
    each_database(async |database: TestDatabase| {
        let db = with_one_connection(&database).await;
        let tx = database::begin(&db).await.unwrap();
        tx.execute_unprepared("insert into note values (null)")
            .await
            .unwrap_err();
        drop(tx);
        let insert = "insert into note values ('a')";
        insert_in_transaction(&db, insert).await.unwrap();
        run(&db, insert).await;
        assert_eq!(number(&database.connection, COUNT).await, 2);
    })
    .await;
}

/// A62
#[tokio::test]
async fn postgres_read_only_sessions_are_replaced() {
    let database = postgres().await;
    let db = with_one_connection(&database).await;
    run(&db, "set default_transaction_read_only = on").await;
    let insert = async || {
        let statement =
            Statement::from_string(db.get_database_backend(), "insert into note values ('a')");
        db.execute_raw(statement).await
    };
    let refused = insert().await.unwrap_err();
    assert!(database::is_unavailable(&refused), "{refused}");
    assert!(database::is_undone(&refused), "{refused}");
    until(
        "a new session takes the write",
        Duration::from_secs(10),
        async || insert().await.ok(),
    )
    .await;
}

/// A62
#[tokio::test]
async fn postgres_session_returned_in_transaction_is_closed() {
    let database = postgres().await;
    let db = with_one_connection(&database).await;
    // Any failed statement puts the sessions under suspicion.
    let wrong = Statement::from_string(db.get_database_backend(), "select 1 from nothing");
    let unknown = db.query_one_raw(wrong).await.unwrap_err();
    assert!(database::is_unavailable(&unknown), "{unknown}");
    run(&db, "begin; insert into note values ('a')").await;
    assert_eq!(number(&db, COUNT).await, 0);
}

#[tokio::test]
async fn postgres_session_prepares_lost_statements_again() {
    let database = postgres().await;
    let db = with_one_connection(&database).await;
    let count = || db.query_one_raw(Statement::from_string(db.get_database_backend(), COUNT));
    count().await.unwrap();
    run(&db, "deallocate all").await;
    let lost = count().await.unwrap_err();
    assert!(database::is_unavailable(&lost), "{lost}");
    count().await.unwrap();
}

#[tokio::test]
async fn postgres_session_prepares_outdated_statements_again() {
    let database = postgres().await;
    let db = with_one_connection(&database).await;
    let select = || {
        let sql = "select * from note";
        db.query_all_raw(Statement::from_string(db.get_database_backend(), sql))
    };
    select().await.unwrap();
    let alter = "alter table note alter column value type text using 'a'";
    run(&database.connection, alter).await;
    let outdated = select().await.unwrap_err();
    assert!(database::is_undone(&outdated), "{outdated}");
    select().await.unwrap();
}

/// A caller that goes away at any moment of a BEGIN leaves no transaction behind, which the next statement would be in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_begin_leaves_no_transaction() {
    each_database(async |database: TestDatabase| {
        let db = with_one_connection(&database).await;
        let mut expected = 0;
        for step in 0..150 {
            let limit = Duration::from_micros(step * 20);
            let _ = tokio::time::timeout(limit, database::begin(&db)).await;
            run(&db, "insert into note values ('a')").await;
            expected += 1;
            assert_eq!(number(&database.connection, COUNT).await, expected);
        }
    })
    .await;
}
