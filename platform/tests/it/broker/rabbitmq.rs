//! RabbitMQ: the suite, and the faults that only a server and a network have.

use std::time::{Duration, Instant};

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use platform::broker::rabbitmq::{self, Timeouts};
use platform::broker::{Broker, Bytes, Error, Message, Outcome, Route, Topology};
use platform::config::Secret;
use platform::test_support::{rabbitmq_url, until};

use super::conformance::{Backend, EVENT, bounded, conformance, message, next};
use crate::proxy::{Mode, Proxy};

mod fault;
mod permission;
mod restart;

/// A queue of this test's own, on the server that all tests share.
struct RabbitMq {
    broker: Broker,
    topology: Topology,
}

impl RabbitMq {
    fn at(url: Secret, topology: Topology, timeouts: Timeouts) -> Self {
        let broker = rabbitmq::Broker::new(url, topology.clone(), "platform tests");
        Self {
            broker: Broker::RabbitMq(broker.with_timeouts(timeouts)),
            topology,
        }
    }
}

impl Backend for RabbitMq {
    async fn start() -> Self {
        Self::at(rabbitmq_url(), topology(), Timeouts::default())
    }

    fn broker(&self) -> &Broker {
        &self.broker
    }

    fn queue(&self) -> &'static str {
        self.topology.queues[0].0
    }

    async fn dead_letter(&self) -> Message {
        let queue = format!("{}.dead", self.queue()).leak();
        let mut consumer = self.broker.consumer(queue, 1).await.unwrap();
        let delivery = next(&mut consumer).await;
        let message = delivery.message.clone();
        delivery.ack().await.unwrap();
        message
    }
}

fn topology() -> Topology {
    let name = format!("test-{}", uuid::Uuid::new_v4().simple());
    let queue: &'static str = format!("{name}.things").leak();
    Topology {
        exchange: name.leak(),
        queues: vec![(queue, &[EVENT][..])].leak(),
    }
}

/// A channel beside the broker's own, for what applications don't do.
async fn raw(url: &Secret) -> (Connection, lapin::Channel) {
    let connection = Connection::connect(url.expose(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    (connection, channel)
}

conformance!(RabbitMq);

#[tokio::test]
async fn a_message_is_confirmed_without_a_consumer_and_waits_for_one() {
    let backend = RabbitMq::start().await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let outcomes = publisher.publish(backend.queue(), vec![message(1)]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
    drop(publisher);
    let mut consumer = backend.broker().consumer(backend.queue(), 1).await.unwrap();
    assert_eq!(next(&mut consumer).await.message, message(1));
}

/// A queue of another application, bound to the public exchange.
#[tokio::test]
async fn foreign_queue_receives_all_events_and_nothing_internal() {
    let backend = RabbitMq::start().await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let (_connection, channel) = raw(&rabbitmq_url()).await;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default();
    let queue = channel
        .queue_declare("".into(), exclusive, none.clone())
        .await;
    let queue = queue.unwrap().name().clone();
    for key in [EVENT, backend.queue()] {
        let options = QueueBindOptions::default();
        let exchange = backend.topology.exchange.into();
        let bound = channel.queue_bind(queue.clone(), exchange, key.into(), options, none.clone());
        bound.await.unwrap();
    }
    let routes = [
        Route::Event(EVENT),
        Route::Queue(backend.queue()),
        Route::ForeignEvent(EVENT),
        Route::Event(EVENT),
    ];
    for (id, route) in routes.into_iter().enumerate() {
        publisher.send(route, message(id));
    }
    for expected in [0, 2, 3] {
        let delivery = until("an event arrives", Duration::from_secs(10), async || {
            let got = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true });
            got.await.unwrap()
        })
        .await
        .delivery;
        let body: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
        assert_eq!(body["id"], expected.to_string());
        assert_eq!(body["specversion"], "1.0");
        assert_eq!(delivery.routing_key.as_str(), EVENT);
    }
    let more = channel
        .basic_get(queue, BasicGetOptions { no_ack: true })
        .await;
    assert!(more.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_are_exactly_those_in_the_queue_while_its_binding_comes_and_goes() {
    let backend = RabbitMq::start().await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let (_connection, channel) = raw(&rabbitmq_url()).await;
    let queue = backend.queue();
    let exchange: &'static str = format!("{}.internal", backend.topology.exchange).leak();
    let unbinding = async {
        loop {
            let unbound = channel.queue_unbind(
                queue.into(),
                exchange.into(),
                queue.into(),
                FieldTable::default(),
            );
            unbound.await.unwrap();
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(
                queue.into(),
                exchange.into(),
                queue.into(),
                options,
                FieldTable::default(),
            );
            bound.await.unwrap();
        }
    };
    let publishing = async {
        let mut confirmed = Vec::new();
        let mut unroutable = 0;
        for batch in 0..20 {
            let ids = batch * 500..(batch + 1) * 500;
            let batch: Vec<Message> = ids.map(message).collect();
            let outcomes = publisher.publish(queue, batch.clone()).await;
            for (message, outcome) in batch.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Confirmed => confirmed.push(message.id),
                    Outcome::Unroutable => unroutable += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        (confirmed, unroutable)
    };
    let (confirmed, unroutable) = tokio::select! {
        never = unbinding => never,
        published = publishing => published,
    };
    assert!(
        unroutable > 0 && !confirmed.is_empty(),
        "{unroutable} of 10000 were unroutable"
    );
    let mut consumer = backend.broker().consumer(queue, 1000).await.unwrap();
    for expected in confirmed {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.id, expected);
        delivery.ack().await.unwrap();
    }
    let more = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(
        more.is_err(),
        "something was in the queue and not confirmed"
    );
}

#[tokio::test]
async fn a_stranger_s_message_comes_with_what_it_has() {
    let backend = RabbitMq::start().await;
    let mut consumer = backend
        .broker()
        .consumer(backend.queue(), 10)
        .await
        .unwrap();
    let (_connection, channel) = raw(&rabbitmq_url()).await;
    let mut headers = FieldTable::default();
    headers.insert(
        "cloudEvents:time".into(),
        lapin::types::AMQPValue::LongString("soon".into()),
    );
    headers.insert(
        "cloudEvents:type".into(),
        lapin::types::AMQPValue::LongLongInt(7),
    );
    let bare = BasicProperties::default();
    let odd = bare
        .clone()
        .with_message_id("known".into())
        .with_headers(headers);
    for (properties, id) in [(bare, ""), (odd, "known")] {
        let (options, queue) = (BasicPublishOptions::default(), backend.queue());
        let published =
            channel.basic_publish("".into(), queue.into(), options, b"\xff", properties);
        published.await.unwrap().await.unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.id, id);
        assert_eq!(delivery.message.kind, "");
        assert_eq!(delivery.message.time, chrono::DateTime::UNIX_EPOCH);
        assert_eq!(delivery.message.body, Bytes::from_static(b"\xff"));
        delivery.dead_letter("it is a stranger's").await.unwrap();
    }
}

#[tokio::test]
async fn a_message_nobody_settles_ends_among_the_dead_letters() {
    let backend = RabbitMq::start().await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    publisher
        .publish(backend.queue(), vec![message("poison"), message("fine")])
        .await;
    let mut consumer = backend.broker().consumer(backend.queue(), 1).await.unwrap();
    let mut attempts = Vec::new();
    loop {
        let delivery = next(&mut consumer).await;
        if delivery.message.id == "fine" {
            break delivery.ack().await.unwrap();
        }
        attempts.push(delivery.attempt);
    }
    assert_eq!(attempts, (1..=21).collect::<Vec<_>>());
    assert_eq!(backend.dead_letter().await, message("poison"));
}

#[tokio::test]
async fn a_queue_declared_otherwise_is_named_with_the_way_out() {
    let backend = RabbitMq::start().await;
    let (_connection, channel) = raw(&rabbitmq_url()).await;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(backend.queue().into(), options, FieldTable::default())
        .await
        .unwrap();
    let error = backend.broker().publisher().await.err().unwrap();
    assert!(matches!(error, Error::Topology { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(backend.queue()) && text.contains("delete_queue"),
        "{text}"
    );
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_away_and_its_password_stays_secret() {
    for (url, away) in [
        ("amqp://me:hunter2@127.0.0.1:1/%2f", true),
        ("amqp://me:hunter2@127.0.0.1:port/", false),
        ("hunter2", false),
    ] {
        let broker = Broker::rabbitmq(Secret::new(url), topology(), "tests");
        let error = bounded("the answer", broker.publisher())
            .await
            .err()
            .unwrap();
        assert_eq!(matches!(error, Error::Away { .. }), away, "{error:?}");
        let words = format!("{error:?}");
        let words = format!("{words} {:#}", anyhow::Error::new(error));
        assert!(!words.contains("hunter2"), "{words}");
    }
}

#[tokio::test]
async fn a_broker_without_tls_is_away_for_those_who_ask_for_it() {
    let mut uri: lapin::uri::AMQPUri = rabbitmq_url().expose().parse().unwrap();
    uri.scheme = lapin::uri::AMQPScheme::AMQPS;
    let broker = Broker::rabbitmq(Secret::new(uri.to_string()), topology(), "tests");
    let started = Instant::now();
    let error = bounded("the answer", broker.publisher())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Away { .. }), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_wrong_password_is_an_error_at_once() {
    let mut uri: lapin::uri::AMQPUri = rabbitmq_url().expose().parse().unwrap();
    uri.authority.userinfo.password = "wrong".to_owned();
    let broker = Broker::rabbitmq(Secret::new(uri.to_string()), topology(), "tests");
    let error = bounded("the answer", broker.publisher())
        .await
        .err()
        .unwrap();
    let words = format!("{:#}", anyhow::Error::new(error));
    assert!(words.contains("ACCESS_REFUSED"), "{words}");
}

#[tokio::test]
async fn a_queue_that_does_not_exist_has_no_consumer() {
    let backend = RabbitMq::start().await;
    let error = backend
        .broker()
        .consumer("nobody's", 1)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Topology { .. }), "{error:?}");
    assert!(error.to_string().contains("nobody's"), "{error}");
}
