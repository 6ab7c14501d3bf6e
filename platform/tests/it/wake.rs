//! Wake-ups between processes, by Postgres.

use std::time::Duration;

use platform::config::Secret;
use platform::database;
use platform::test_support::{TestDatabase, postgres, until};
use platform::wake::{Wake, forward, listen};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(10);

/// A writer's wake on one side, a reader's on the other, and Postgres between them.
struct Pair {
    database: TestDatabase,
    writer: Wake,
    reader: Wake,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Pair {
    async fn start() -> Self {
        let database = postgres().await;
        let (writer, reader) = (Wake::default(), Wake::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let db = database.connection.clone();
        tasks.spawn(forward(db, "things", writer.clone(), stop.clone()));
        tasks.spawn(listen(
            (database.connection.clone(), database.url.clone()),
            "things",
            reader.clone(),
            stop.clone(),
        ));
        let pair = Self {
            database,
            writer,
            reader,
            stop,
            tasks,
        };
        pair.woken("it listens").await;
        pair
    }

    async fn woken(&self, why: &str) {
        let waited = tokio::time::timeout(LIMIT, self.reader.woken()).await;
        waited.unwrap_or_else(|_| panic!("not woken although {why}"));
    }

    async fn listeners(&self) -> i64 {
        let sql = "select count(*) from pg_stat_activity \
            where datname = current_database() and query like 'LISTEN%'";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = self
            .database
            .connection
            .query_one_raw(statement)
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index(0).unwrap()
    }
}

#[tokio::test]
async fn a_wake_up_crosses_from_process_to_process() {
    let mut pair = Pair::start().await;
    for _ in 0..3 {
        pair.writer.wake();
        pair.woken("the writer woke it").await;
    }
    pair.stop.cancel();
    while let Some(ended) = pair.tasks.join_next().await {
        ended.unwrap().unwrap();
    }
    let probe = async || (pair.listeners().await == 0).then_some(());
    until("the listening connection is closed", LIMIT, probe).await;
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_comes_back_and_wakes() {
    let pair = Pair::start().await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
        where datname = current_database() and query like 'LISTEN%' and pid <> pg_backend_pid()";
    let statement = Statement::from_string(DbBackend::Postgres, kill);
    pair.database
        .connection
        .query_one_raw(statement)
        .await
        .unwrap();
    pair.woken("it listens again, and may have missed one")
        .await;
    pair.writer.wake();
    pair.woken("the writer woke it").await;
}

#[tokio::test]
async fn without_a_server_both_go_on_until_they_are_told_to_stop() {
    let nowhere = Secret::new("postgres://nobody@127.0.0.1:1/nothing");
    let database = postgres().await;
    let stop = CancellationToken::new();
    let wake = Wake::default();
    let mut tasks = JoinSet::new();
    let closed = database::connect(&database.url, 1).await.unwrap();
    let place = (closed.clone(), nowhere);
    tasks.spawn(listen(place, "things", wake.clone(), stop.clone()));
    closed.clone().close().await.unwrap();
    tasks.spawn(forward(closed, "things", wake.clone(), stop.clone()));
    wake.wake();
    let early = tokio::time::timeout(Duration::from_millis(500), tasks.join_next()).await;
    assert!(early.is_err(), "one of them ended: {early:?}");
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap().unwrap();
    }
}
