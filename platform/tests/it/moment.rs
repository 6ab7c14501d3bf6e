//! Moments of Postgres: one order for all sessions.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use platform::clock::Clock;
use platform::database::Database;
use platform::moment::moment;
use platform::test_support::{TestDatabase, each_database, postgres};
use sea_orm::{ConnectionTrait, Statement};
use tokio::task::JoinSet;

async fn next(db: &Database) -> i64 {
    moment(db, &Clock::system()).await.unwrap().1
}

async fn set(db: &Database, number: i64) {
    let set = format!("select setval('moment_order', {number})");
    db.execute_unprepared(&set).await.unwrap();
}

#[tokio::test]
async fn each_moment_comes_after_the_one_before() {
    each_database(async |database: TestDatabase| {
        let clock = Clock::system();
        let before = database_now(&database, &clock).await;
        let mut last = 0;
        for _ in 0..50 {
            let (at, number) = moment(&database.connection, &clock).await.unwrap();
            assert!(number > last);
            assert!(at >= before);
            last = number;
        }
    })
    .await;
}

async fn database_now(database: &TestDatabase, clock: &Clock) -> chrono::DateTime<Utc> {
    let now = platform::database::now(&database.connection, clock).await;
    now.unwrap()
}

/// After a fail-over, or a restore, the sequence is behind what it has given before.
#[tokio::test]
async fn moments_follow_the_clock_of_the_server() {
    let database = postgres().await;
    let db = &database.connection;
    let micros = || (Utc::now() - TimeDelta::seconds(5)).timestamp_micros();
    assert!(next(db).await > micros());
    set(db, 1).await;
    assert!(next(db).await > micros());
}

/// The clock was ahead, and was set back.
#[tokio::test]
async fn moments_do_not_go_back_with_the_clock() {
    let database = postgres().await;
    let ahead = (Utc::now() + TimeDelta::days(400)).timestamp_micros();
    set(&database.connection, ahead).await;
    assert_eq!(next(&database.connection).await, ahead + 1);
    assert_eq!(next(&database.connection).await, ahead + 2);
}

/// All of them find the sequence behind the clock, and one moves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_meet_share_one_order() {
    let database = postgres().await;
    for _ in 0..20 {
        set(&database.connection, 1).await;
        let mut sessions = JoinSet::new();
        for _ in 0..8 {
            let db = database.connection.clone();
            sessions.spawn(async move {
                let mut own = Vec::new();
                for _ in 0..10 {
                    own.push(next(&db).await);
                }
                assert!(
                    own.is_sorted_by(|earlier, later| earlier < later),
                    "{own:?}"
                );
                own
            });
        }
        let all: Vec<i64> = sessions.join_all().await.into_iter().flatten().collect();
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "none is given twice");
    }
}

/// A role that only may use the tables, as the README grants it.
#[tokio::test]
async fn role_without_rights_to_the_sequence_asks_for_moments() {
    let database = postgres().await;
    let db = &database.connection;
    let role = format!("r_{}", uuid::Uuid::new_v4().simple());
    let tx = platform::database::begin(db).await.unwrap();
    tx.execute_unprepared(&format!("create role {role}"))
        .await
        .unwrap();
    tx.execute_unprepared(&format!("set local role {role}"))
        .await
        .unwrap();
    let select = Statement::from_string(db.get_database_backend(), "select next_moment()");
    let row = tx.query_one_raw(select).await.unwrap().unwrap();
    assert!(row.try_get_by_index::<i64>(0).unwrap() > 0);
    tx.rollback().await.unwrap();
}
