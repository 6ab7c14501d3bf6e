//! When the loop takes a step.

use std::time::Duration;

use entity::message::UPSYNC;
use platform::test_support::{each_database, postgres};
use platform::wake;
use sea_orm::ConnectionTrait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{create, event, in_process, relay, start, take, until_empty, until_ok};

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_wake_publishes_at_once() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (mut relay, health) = relay(db, &broker);
        relay.options.poll = NEVER;
        let wake = relay.wake.clone();
        let (_task, _stop) = start(relay);
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        until_ok(&health, "relay").await;
        for _ in 0..20 {
            let customer = create(db).await;
            wake.wake();
            assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
        }
        until_empty(db).await;
    })
    .await;
}

#[tokio::test]
async fn a_poll_finds_a_row_that_nobody_spoke_of() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (mut relay, health) = relay(db, &broker);
        relay.options.poll = Duration::from_millis(50);
        let (_task, _stop) = start(relay);
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        until_ok(&health, "relay").await;
        let customer = create(db).await;
        assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
    })
    .await;
}

#[tokio::test]
async fn a_notification_from_another_process_wakes_it() {
    let database = postgres().await;
    let db = &database.connection;
    let broker = in_process();
    let (mut relay, health) = relay(db, &broker);
    relay.options.poll = NEVER;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let listening = wake::listen(
        (database.connection.clone(), database.url.clone()),
        "outbox",
        relay.wake.clone(),
        stop.clone(),
    );
    tasks.spawn(listening);
    tasks.spawn(outbox_relay::run(relay, stop.clone()));
    let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
    until_ok(&health, "relay").await;
    let customer = create(db).await;
    db.execute_unprepared("notify outbox").await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
}
