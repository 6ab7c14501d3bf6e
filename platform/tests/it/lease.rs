//! One holder at a time, and an epoch that tells the holders apart.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use platform::clock::Clock;
use platform::lease::{Column, Entity, Held, Lease};
use platform::test_support::{TestDatabase, each_database};
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
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
async fn lease_is_taken_over_after_its_time_without_a_renewal() {
    each_database(async |database: TestDatabase| {
        let clock = Clock::manual(Utc::now());
        let (mine, theirs) = (Lease::new("job", LONG), Lease::new("job", LONG));
        let take = async |lease: &Lease| lease.acquire(&database.connection, &clock).await.unwrap();
        take(&mine).await.unwrap();
        assert_eq!(take(&theirs).await, None);
        assert!(!theirs.is_overdue(&clock));
        clock.advance(LONG - Duration::from_micros(1));
        assert_eq!(take(&theirs).await, None);
        assert!(theirs.is_overdue(&clock));
        clock.advance(Duration::from_micros(1));
        assert_eq!(take(&theirs).await.unwrap().epoch(), 2);
        assert_eq!(take(&mine).await, None);
    })
    .await;
}

#[tokio::test]
async fn renewed_lease_is_not_taken_over() {
    each_database(async |database: TestDatabase| {
        let clock = Clock::manual(Utc::now());
        let (mine, theirs) = (Lease::new("job", LONG), Lease::new("job", LONG));
        let take = async |lease: &Lease| lease.acquire(&database.connection, &clock).await.unwrap();
        take(&mine).await.unwrap();
        for _ in 0..10 {
            assert_eq!(take(&theirs).await, None);
            assert!(!theirs.is_overdue(&clock), "it was renewed");
            clock.advance(LONG * 2 / 3);
            assert_eq!(take(&mine).await.unwrap().epoch(), 1);
        }
        // A stand-by that was stopped for long has read an old renewal.
        assert_eq!(take(&theirs).await, None);
        take(&mine).await.unwrap();
        clock.advance(LONG);
        assert_eq!(take(&theirs).await, None);
    })
    .await;
}

/// A52: a step of the database's clock, to a time far from the one at which the lease was renewed.
#[tokio::test]
async fn lease_ignores_every_step_of_the_clock() {
    each_database(async |database: TestDatabase| {
        let clock = Clock::manual(Utc::now());
        let (mine, theirs) = (Lease::new("job", LONG), Lease::new("job", LONG));
        let take = async |lease: &Lease| lease.acquire(&database.connection, &clock).await.unwrap();
        for by in [600, -600, -86_400] {
            let held = take(&mine).await.unwrap();
            take(&theirs).await;
            step(&database, &clock, by).await;
            assert_eq!(take(&theirs).await, None, "{by}");
            clock.advance(LONG);
            let taken = take(&theirs).await.unwrap();
            assert_eq!(taken.epoch(), held.epoch() + 1, "{by}");
            theirs.release(&database.connection, &taken).await.unwrap();
        }
    })
    .await;
}

/// The clock of the server that a test shares with others stays: what was stored moves instead.
async fn step(database: &TestDatabase, clock: &Clock, by_seconds: i64) {
    clock.step(TimeDelta::seconds(by_seconds));
    let expires_at = Expr::value(Utc::now() - TimeDelta::seconds(by_seconds));
    Entity::update_many()
        .col_expr(Column::ExpiresAt, expires_at)
        .exec(&database.connection)
        .await
        .unwrap();
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
