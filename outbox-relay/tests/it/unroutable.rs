//! Events that RabbitMQ returns or refuses, because of its topology and not because of the event.

use entity::message::UPSYNC;
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use outbox_relay::Active;
use platform::broker::Broker;
use platform::test_support::{RabbitMq, each_database, sqlite, until};

use crate::support::{
    LIMIT, TOPOLOGY, Wiring, create, event, narrow, relay, start, take, term, until_empty,
    until_ok, until_says, update, waiting,
};

#[tokio::test]
async fn customers_whose_events_are_returned_hold_up_nobody_else() {
    each_database(async |database| {
        let db = &database.connection;
        let wiring = Wiring::new().await;
        let relay = narrow(db, &wiring.broker, 2);
        let term = term(&relay).await;
        let lost = create(db).await;
        let good = create(db).await;
        let lost_second = update(db, &lost).await;
        let mut delivered = vec![event(&good)];
        for _ in 0..3 {
            delivered.push(event(&update(db, &good).await));
        }
        wiring.route_only(&[&good]).await;

        let mut active = Active::new(&relay, &term);
        let counts = active.run_once().await.unwrap();
        assert_eq!((counts.read, counts.confirmed, counts.returned), (2, 1, 1));
        assert!(
            active
                .trouble()
                .is_some_and(|text| text.contains("no queue is bound"))
        );
        // The second rev of the lost one is at hand, and not sent ahead of the first.
        let mut sent = counts.read;
        while waiting(db).await.len() > 2 {
            sent += active.run_once().await.unwrap().read;
        }
        assert_eq!(sent, 5);
        assert_eq!(waiting(db).await, [event(&lost), event(&lost_second)]);

        wiring.route_all().await;
        let mut consumer = wiring.consumer().await;
        until("the lost ones are published after all", LIMIT, async || {
            active.run_once().await.unwrap();
            waiting(db).await.is_empty().then_some(())
        })
        .await;
        delivered.extend([event(&lost), event(&lost_second)]);
        assert_eq!(take(&mut consumer, 6).await, delivered);
    })
    .await;
}

#[tokio::test]
async fn a_heap_that_is_returned_does_not_hide_what_lies_behind_it() {
    each_database(async |database| {
        let db = &database.connection;
        let wiring = Wiring::new().await;
        let (mut relay, _) = relay(db, &wiring.broker);
        relay.options.window = 2;
        let mut heap = Vec::new();
        for _ in 0..7 {
            heap.push(event(&create(db).await));
        }
        let good = create(db).await;
        wiring.route_only(&[&good]).await;
        let (_task, _stop) = start(relay);
        let mut consumer = wiring.consumer().await;
        assert_eq!(take(&mut consumer, 1).await, [event(&good)]);
        until("only the heap is left", LIMIT, async || {
            (waiting(db).await == heap).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_binding_is_said_with_what_to_do_and_goes_away() {
    let database = sqlite().await;
    let db = &database.connection;
    let wiring = Wiring::new().await;
    wiring.route_all().await;
    let (relay, health) = relay(db, &wiring.broker);
    let wake = relay.wake.clone();
    let (_task, _stop) = start(relay);
    create(db).await;
    wake.wake();
    until_empty(db).await;
    until_ok(&health, "relay broker").await;

    wiring.route_nothing().await;
    let customer = create(db).await;
    wake.wake();
    let said = until_says(&health, "relay broker", "no queue is bound").await;
    assert!(said.contains("rabbitmqctl list_bindings"), "{said}");
    assert_eq!(waiting(db).await, [event(&customer)]);
    wiring.route_all().await;
    until_empty(db).await;
    until_ok(&health, "relay broker").await;
    assert_eq!(wiring.ready().await, 2);
}

#[tokio::test]
async fn a_queue_that_somebody_deleted_is_declared_again() {
    let rabbitmq = RabbitMq::own().await;
    let database = sqlite().await;
    let db = &database.connection;
    let broker = Broker::rabbitmq(rabbitmq.url.clone(), TOPOLOGY, "outbox-relay-test");
    let (relay, health) = relay(db, &broker);
    let wake = relay.wake.clone();
    let (_task, _stop) = start(relay);
    until_ok(&health, "relay broker").await;

    let connection = Connection::connect(rabbitmq.url.expose(), ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .queue_delete(UPSYNC.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let customer = create(db).await;
    wake.wake();
    until_empty(db).await;
    let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
}
