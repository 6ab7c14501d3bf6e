//! One holder at a time, and an epoch that tells the holders apart.

use std::time::Duration;

use chrono::Utc;
use platform::clock::Clock;
use platform::lease::{Held, Lease};
use platform::test_support::{TestDatabase, each_database, postgres, sqlite, until};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(60);

async fn acquire(lease: &Lease, database: &TestDatabase) -> Option<Held> {
    lease
        .acquire(&database.connection, &Clock::system())
        .await
        .unwrap()
}

#[tokio::test]
async fn it_has_one_holder_who_renews_it_under_the_same_epoch() {
    each_database(async |database: TestDatabase| {
        let (mine, theirs) = (Lease::new("job", LONG), Lease::new("job", LONG));
        let held = acquire(&mine, &database).await.unwrap();
        assert_eq!(held.epoch(), 1);
        assert_eq!(acquire(&theirs, &database).await, None);
        assert_eq!(acquire(&mine, &database).await, Some(held));
        let other_job = Lease::new("other", LONG);
        assert_eq!(acquire(&other_job, &database).await.unwrap().epoch(), 1);
    })
    .await;
}

#[tokio::test]
async fn given_up_it_goes_to_the_next_at_once_under_the_next_epoch() {
    each_database(async |database: TestDatabase| {
        let (mine, theirs) = (Lease::new("job", LONG), Lease::new("job", LONG));
        let held = acquire(&mine, &database).await.unwrap();
        mine.release(&database.connection, &held).await.unwrap();
        assert_eq!(acquire(&theirs, &database).await.unwrap().epoch(), 2);
        // What is given up twice was somebody else's the second time.
        mine.release(&database.connection, &held).await.unwrap();
        assert_eq!(acquire(&mine, &database).await, None);
    })
    .await;
}

#[tokio::test]
async fn on_sqlite_it_runs_out_by_the_process_s_clock() {
    let database = sqlite().await;
    let clock = Clock::manual(Utc::now());
    let (mine, theirs) = (Lease::new("job", LONG), Lease::new("job", LONG));
    let take = async |lease: &Lease| lease.acquire(&database.connection, &clock).await.unwrap();
    take(&mine).await.unwrap();
    clock.advance(LONG);
    assert_eq!(
        take(&theirs).await,
        None,
        "it holds through its last moment"
    );
    clock.advance(Duration::from_micros(1));
    assert_eq!(take(&theirs).await.unwrap().epoch(), 2);
    assert_eq!(take(&mine).await, None);
}

#[tokio::test]
async fn on_postgres_it_runs_out_by_the_server_s_clock() {
    let database = postgres().await;
    // A process whose clock is far off neither holds it longer nor loses it.
    let wrong = Clock::manual(chrono::DateTime::UNIX_EPOCH);
    let brief = Lease::new("job", Duration::from_millis(200));
    let theirs = Lease::new("job", LONG);
    brief
        .acquire(&database.connection, &wrong)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        theirs.acquire(&database.connection, &wrong).await.unwrap(),
        None
    );
    let probe = async || theirs.acquire(&database.connection, &wrong).await.unwrap();
    let held = until("it has run out", Duration::from_secs(5), probe).await;
    assert_eq!(held.epoch(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_reach_for_it_one_has_it() {
    each_database(async |database: TestDatabase| {
        let mut reaching = JoinSet::new();
        for _ in 0..20 {
            let db = database.connection.clone();
            reaching.spawn(async move {
                let lease = Lease::new("job", LONG);
                lease.acquire(&db, &Clock::system()).await.unwrap()
            });
        }
        let held: Vec<_> = reaching.join_all().await.into_iter().flatten().collect();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].epoch(), 1);
    })
    .await;
}
