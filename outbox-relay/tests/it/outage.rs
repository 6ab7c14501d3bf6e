//! The broker or the database is away, at the start or later: nothing is lost, it is said, and it
//! goes on by itself.

use entity::message::UPSYNC;
use platform::broker::{Broker, Consumer};
use platform::test_support::sqlite;
use platform::test_support::{RabbitMq, each_database, until};
use sea_orm::ConnectionTrait;

use crate::support::{
    LIMIT, TOPOLOGY, create, event, in_process, relay, start, take, until_empty, until_ok,
    until_says,
};

/// A queue needs some time to recover, too.
async fn reopened(broker: &Broker) -> Consumer {
    until("a consumer can be opened", 2 * LIMIT, async || {
        broker.consumer(UPSYNC, 10).await.ok()
    })
    .await
}

#[tokio::test]
async fn a_broker_that_is_away_holds_up_the_events_and_loses_none() {
    let rabbitmq = RabbitMq::own().await;
    let broker = Broker::rabbitmq(rabbitmq.url.clone(), TOPOLOGY, "outbox-relay-test");
    drop(broker.publisher().await.unwrap());
    // In good order, so that the queue is on disk: one that is killed as it is new may never come
    // back.
    rabbitmq.stop().await;
    let database = sqlite().await;
    let db = &database.connection;
    let (relay, health) = relay(db, &broker);
    let first = create(db).await;

    let (_task, _stop) = start(relay.clone());
    let said = until_says(&health, "relay broker", "RabbitMQ is away").await;
    assert!(
        said.contains("writes go on, fewer than 10 rows wait, since 20"),
        "{said}"
    );
    assert!(!said.contains("guest:guest"), "{said}");
    rabbitmq.start().await;
    let mut consumer = reopened(&broker).await;
    assert_eq!(take(&mut consumer, 1).await, [event(&first)]);
    until_ok(&health, "relay broker").await;
    until_empty(db).await;

    drop(consumer);
    rabbitmq.kill().await;
    // With nothing to publish, too.
    until_says(&health, "relay broker", "RabbitMQ is away").await;
    let second = create(db).await;
    relay.wake.wake();
    rabbitmq.start().await;
    let mut consumer = reopened(&broker).await;
    assert_eq!(take(&mut consumer, 1).await, [event(&second)]);
    until_ok(&health, "relay broker").await;
    until_empty(db).await;
}

#[tokio::test]
async fn a_database_that_fails_is_said_and_waited_for() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, health) = relay(db, &broker);
        let (_task, _stop) = start(relay);
        until_ok(&health, "relay").await;
        let customer = create(db).await;
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
        until_empty(db).await;

        db.execute_unprepared("alter table outbox rename to elsewhere")
            .await
            .unwrap();
        until_says(
            &health,
            "relay database",
            "problem: the database does not answer",
        )
        .await;
        db.execute_unprepared("alter table elsewhere rename to outbox")
            .await
            .unwrap();
        let customer = create(db).await;
        assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
        until_ok(&health, "relay database").await;
    })
    .await;
}
