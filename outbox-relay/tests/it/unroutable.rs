//! Events that RabbitMQ returns or refuses, because of its topology and not because of the event.

use entity::message::{CHANGES, UPSYNC};
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use outbox_relay::Active;
use platform::broker::Broker;
use platform::test_support::{RabbitMq, each_database, sqlite, until};

use crate::support::{
    LIMIT, TOPOLOGY, Wiring, create, delete, event, narrow, relay, start, take, take_from_stripe,
    term, until_empty, until_ok, until_says, update, waiting,
};

#[tokio::test]
async fn customers_whose_events_are_returned_hold_up_nobody_else() {
    each_database(async |database| {
        let db = &database.connection;
        let wiring = Wiring::new().await;
        let relay = narrow(db, &wiring.broker, 2);
        let term = term(&relay).await;
        wiring.route(&CHANGES).await;
        let good = create(db).await;
        let mut delivered = vec![event(&good)];
        let mut active = Active::new(&relay, &term);
        assert_eq!(active.run_once().await.unwrap().confirmed, 1);
        wiring
            .unroute(&["customer.created", "customer.deleted"])
            .await;
        let lost = create(db).await;
        delivered.push(event(&update(db, &good).await));
        let lost_second = delete(db, &lost).await;
        for _ in 0..3 {
            delivered.push(event(&update(db, &good).await));
        }

        let counts = active.run_once().await.unwrap();
        assert_eq!((counts.read, counts.confirmed, counts.returned), (2, 1, 1));
        assert!(
            active
                .trouble()
                .is_some_and(|text| text.contains("no queue is bound"))
        );
        // The second rev of the lost one is at hand, and not sent ahead of the first.
        while waiting(db).await.len() > 2 {
            active.run_once().await.unwrap();
        }
        assert_eq!(waiting(db).await, [event(&lost), event(&lost_second)]);

        wiring.route(&CHANGES).await;
        let mut consumer = wiring.consumer().await;
        until("the lost ones are published after all", LIMIT, async || {
            active.run_once().await.unwrap();
            waiting(db).await.is_empty().then_some(())
        })
        .await;
        delivered.extend([event(&lost), event(&lost_second)]);
        assert_eq!(take(&mut consumer, 7).await, delivered);
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
        wiring.route(&CHANGES).await;
        let good = create(db).await;
        let (_task, _stop) = start(relay);
        let mut consumer = wiring.consumer().await;
        assert_eq!(take(&mut consumer, 1).await, [event(&good)]);
        until_empty(db).await;
        wiring.unroute(&["customer.created"]).await;
        let mut heap = Vec::new();
        for _ in 0..7 {
            heap.push(event(&create(db).await));
        }
        let behind = update(db, &good).await;
        assert_eq!(take(&mut consumer, 1).await, [event(&behind)]);
        until("only the heap is left", LIMIT, async || {
            (waiting(db).await == heap).then_some(())
        })
        .await;
    })
    .await;
}

/// Stripe has such a change already, and no other application needs to have bound a queue.
#[tokio::test]
async fn a_change_from_stripe_is_published_to_foreign_queues_only() {
    let database = sqlite().await;
    let db = &database.connection;
    let wiring = Wiring::new().await;
    let (relay, _) = relay(db, &wiring.broker);
    let term = term(&relay).await;
    wiring.route(&CHANGES).await;
    let mut active = Active::new(&relay, &term);
    let customer = create(db).await;
    let taken = take_from_stripe(db, &customer).await;
    let ours = update(db, &taken).await;
    while !waiting(db).await.is_empty() {
        active.run_once().await.unwrap();
    }
    assert_eq!(active.trouble(), None);
    let mut consumer = wiring.consumer().await;
    let expected = [event(&customer), event(&ours)];
    assert_eq!(take(&mut consumer, 2).await, expected);
    assert_eq!(wiring.ready().await, 0);
}

#[tokio::test]
async fn a_missing_binding_is_said_with_what_to_do_and_goes_away() {
    let database = sqlite().await;
    let db = &database.connection;
    let wiring = Wiring::new().await;
    wiring.route(&CHANGES).await;
    let (relay, health) = relay(db, &wiring.broker);
    let wake = relay.wake.clone();
    let (_task, _stop) = start(relay);
    create(db).await;
    wake.wake();
    until_empty(db).await;
    until_ok(&health, "relay broker").await;

    wiring.unroute(&CHANGES).await;
    let customer = create(db).await;
    wake.wake();
    let said = until_says(&health, "relay broker", "no queue is bound").await;
    assert!(said.contains("rabbitmqctl list_bindings"), "{said}");
    assert_eq!(waiting(db).await, [event(&customer)]);
    wiring.route(&CHANGES).await;
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
