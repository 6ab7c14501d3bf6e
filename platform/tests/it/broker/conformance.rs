//! What every broker promises, whichever it is. A backend says how it is set up and how its dead
//! letters are read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::join;
use platform::broker::{Broker, Bytes, Consumer, Delivery, Message, Outcome, Publisher, Route};
use platform::test_support::until;

/// The routing key of the events that the queue receives.
pub(super) const EVENT: &str = "thing.changed";

/// A broker with the queue `queue`, which receives the events [`EVENT`], and nothing in it.
pub(super) trait Backend {
    async fn start() -> Self;
    fn broker(&self) -> &Broker;
    fn queue(&self) -> &'static str;
    async fn dead_letter(&self) -> Message;
}

const LIMIT: Duration = Duration::from_secs(20);

/// A wait that has an end.
pub(super) async fn bounded<T>(what: &str, work: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(LIMIT, work).await;
    waited.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain: {what}"))
}

pub(super) fn message(id: impl ToString) -> Message {
    Message {
        id: id.to_string(),
        kind: "thing.changed".to_owned(),
        source: "/tests".to_owned(),
        subject: "thing 7".to_owned(),
        schema: Some("urn:tests:thing".to_owned()),
        time: "2026-01-02T03:04:05.678901Z"
            .parse::<DateTime<Utc>>()
            .unwrap(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        body: Bytes::from_static(b"{}"),
    }
}

pub(super) async fn open<B: Backend>(backend: &B, prefetch: u16) -> (Publisher, Consumer) {
    let consumer = backend
        .broker()
        .consumer(backend.queue(), prefetch)
        .await
        .unwrap();
    (backend.broker().publisher().await.unwrap(), consumer)
}

pub(super) async fn next(consumer: &mut Consumer) -> Delivery {
    bounded("a delivery", consumer.next()).await.unwrap()
}

/// What the relay does: publishes until it is confirmed, however often nobody knows what became of
/// it.
async fn publish_until_confirmed<B: Backend>(backend: &B, batch: Vec<Message>) {
    loop {
        let mut publisher = backend.broker().publisher().await.unwrap();
        let outcomes = publisher.publish(backend.queue(), batch.clone()).await;
        if outcomes
            .iter()
            .all(|outcome| *outcome == Outcome::Confirmed)
        {
            return;
        }
        assert!(!outcomes.contains(&Outcome::Unroutable), "{outcomes:?}");
    }
}

pub(super) async fn messages_arrive_in_the_order_they_were_published<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 100).await;
    let publishing = async {
        for batch in 0..3 {
            let ids = batch * 100..(batch + 1) * 100;
            let outcomes = publisher
                .publish(backend.queue(), ids.map(message).collect())
                .await;
            assert_eq!(outcomes, vec![Outcome::Confirmed; 100]);
        }
    };
    let consuming = async {
        for expected in 0..300 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.message.id, expected.to_string());
            assert_eq!(delivery.attempt, 1);
            delivery.ack().await.unwrap();
        }
    };
    bounded("300 messages", join(publishing, consuming)).await;
}

pub(super) async fn every_attribute_survives<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let full = message("one");
    let odd = Message {
        id: "zwei".to_owned(),
        subject: "Größe \"4\" ✓".to_owned(),
        schema: None,
        traceparent: None,
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
        body: Bytes::from_static("{\"a\":\"ä\"}".as_bytes()),
        ..message("")
    };
    let empty = Message {
        id: "three".to_owned(),
        body: Bytes::new(),
        ..message("")
    };
    let sent = vec![full, odd, empty];
    let publishing = publisher.publish(backend.queue(), sent.clone());
    let consuming = async {
        for expected in &sent {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.message, *expected);
            delivery.ack().await.unwrap();
        }
    };
    bounded("three messages", join(publishing, consuming)).await;
}

pub(super) async fn a_body_of_many_frames_arrives_whole<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let text: String = (0..4_000_000_u32)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect();
    let big = Message {
        body: Bytes::from(format!("\"{text}\"")),
        ..message("big")
    };
    let publishing = publisher.publish(backend.queue(), vec![message("small"), big.clone()]);
    let consuming = async {
        next(&mut consumer).await.ack().await.unwrap();
        let delivery = next(&mut consumer).await;
        assert!(delivery.message == big, "the body changed on its way");
        delivery.ack().await.unwrap();
    };
    let (outcomes, ()) = bounded("a big message", join(publishing, consuming)).await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
}

pub(super) async fn a_delivery_dropped_unsettled_comes_again<B: Backend>() {
    let backend = B::start().await;
    let mut consumer = backend
        .broker()
        .consumer(backend.queue(), 10)
        .await
        .unwrap();
    let consuming = async {
        for attempt in 1..=3 {
            let delivery = next(&mut consumer).await;
            assert_eq!(
                (delivery.message.id.as_str(), delivery.attempt),
                ("again", attempt)
            );
        }
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.attempt, 4);
        delivery.ack().await.unwrap();
    };
    let publishing = publish_until_confirmed(&backend, vec![message("again")]);
    bounded("four deliveries", join(publishing, consuming)).await;
}

pub(super) async fn what_a_dropped_consumer_held_goes_to_the_next<B: Backend>() {
    let backend = B::start().await;
    let mut first = backend
        .broker()
        .consumer(backend.queue(), 10)
        .await
        .unwrap();
    let consuming = async {
        let settled = next(&mut first).await;
        assert_eq!(settled.message.id, "0");
        settled.ack().await.unwrap();
        let held = next(&mut first).await;
        assert_eq!(held.message.id, "1");
        drop(first);
        bounded("the ack's end", held.ack())
            .await
            .expect_err("its consumer is gone");
        let mut second = backend
            .broker()
            .consumer(backend.queue(), 10)
            .await
            .unwrap();
        let delivery = next(&mut second).await;
        assert_eq!((delivery.message.id.as_str(), delivery.attempt), ("1", 2));
        delivery.ack().await.unwrap();
    };
    let publishing = async {
        publish_until_confirmed(&backend, vec![message(0)]).await;
        publish_until_confirmed(&backend, vec![message(1)]).await;
    };
    bounded("the redelivery", join(publishing, consuming)).await;
}

pub(super) async fn a_dead_letter_is_kept_and_does_not_come_again<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let publishing = publisher.publish(backend.queue(), vec![message("bad"), message("good")]);
    let consuming = async {
        next(&mut consumer)
            .await
            .dead_letter("its body can't be read")
            .await
            .unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.id, "good");
        delivery.ack().await.unwrap();
    };
    let (outcomes, ()) = bounded("two messages", join(publishing, consuming)).await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
    assert_eq!(
        bounded("the dead letter", backend.dead_letter()).await,
        message("bad")
    );
}

pub(super) async fn what_no_queue_is_bound_for_is_unroutable<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let outcomes = publisher
        .publish("nobody's", (0..50).map(message).collect())
        .await;
    assert_eq!(outcomes, vec![Outcome::Unroutable; 50]);
    // And the same publisher goes on.
    let publishing = publisher.publish(backend.queue(), vec![message("after")]);
    let consuming = async { next(&mut consumer).await.ack().await };
    let (outcomes, acked) = bounded("the next message", join(publishing, consuming)).await;
    acked.unwrap();
    assert_eq!(outcomes, [Outcome::Confirmed]);
}

pub(super) async fn an_event_goes_to_the_queues_that_receive_it<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let (event, other) = (Route::Event(EVENT), Route::Event("thing.seen"));
    let outcomes = bounded("it", publisher.publish(other, vec![message("other")])).await;
    assert_eq!(outcomes, [Outcome::Unroutable]);
    let publishing = publisher.publish(event, vec![message("one"), message("two")]);
    let consuming = async {
        for expected in ["one", "two"] {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.message, message(expected));
            delivery.ack().await.unwrap();
        }
    };
    let (outcomes, ()) = bounded("two events", join(publishing, consuming)).await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
}

pub(super) async fn a_foreign_event_goes_to_none_of_our_queues<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    publisher.send(Route::ForeignEvent(EVENT), message("foreign"));
    publisher.send(Route::Event(EVENT), message("ours"));
    let publishing = async {
        let mut outcomes = publisher.outcomes().await;
        while outcomes.len() < 2 {
            outcomes.extend(publisher.outcomes().await);
        }
        outcomes
    };
    let consuming = async {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.id, "ours");
        delivery.ack().await.unwrap();
    };
    let (outcomes, ()) = bounded("two events", join(publishing, consuming)).await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
}

pub(super) async fn a_publisher_sends_on_while_outcomes_are_missing<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let publishing = async {
        let (mut sent, mut answered) = (0, 0);
        while answered < 500 {
            while sent < 500 && sent - answered < 20 {
                publisher.send(Route::Event(EVENT), message(sent));
                sent += 1;
            }
            let outcomes = publisher.outcomes().await;
            assert!(!outcomes.is_empty());
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| *outcome == Outcome::Confirmed)
            );
            answered += outcomes.len();
        }
        assert_eq!(publisher.outcomes().await, [], "nothing is in flight");
    };
    let consuming = async {
        for expected in 0..500 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.message.id, expected.to_string());
            delivery.ack().await.unwrap();
        }
    };
    bounded("500 messages", join(publishing, consuming)).await;
}

pub(super) async fn the_depth_counts_what_waits_to_be_delivered<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 1).await;
    let depth = async || backend.broker().depth(backend.queue()).await.unwrap();
    assert_eq!(depth().await, 0);
    let publishing = publisher.publish(backend.queue(), (0..3).map(message).collect());
    let consuming = async {
        let first = next(&mut consumer).await;
        until("two wait behind the first", LIMIT, async || {
            (depth().await == 2).then_some(())
        })
        .await;
        first.ack().await.unwrap();
        for _ in 0..2 {
            next(&mut consumer).await.ack().await.unwrap();
        }
    };
    bounded("three messages", join(publishing, consuming)).await;
    assert_eq!(depth().await, 0);
    assert!(backend.broker().depth("nobody's").await.is_err());
}

pub(super) async fn a_consumer_waits_and_a_cancelled_wait_loses_nothing<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    for _ in 0..3 {
        assert!(
            consumer.next().now_or_never().is_none(),
            "nothing was published yet"
        );
    }
    let publishing = publisher.publish(backend.queue(), (0..20).map(message).collect());
    let consuming = async {
        for expected in 0..20 {
            // Each delivery is waited for by many short waits.
            let delivery = loop {
                let wait = tokio::time::timeout(Duration::from_micros(50), consumer.next());
                if let Ok(delivery) = wait.await {
                    break delivery.unwrap();
                }
            };
            assert_eq!(delivery.message.id, expected.to_string());
            delivery.ack().await.unwrap();
        }
    };
    bounded("20 messages", join(publishing, consuming)).await;
}

pub(super) async fn a_consumer_holds_no_more_than_its_prefetch<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut consumer) = open(&backend, 2).await;
    let publishing = publisher.publish(backend.queue(), (0..3).map(message).collect());
    let consuming = async {
        let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
        let third = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
        assert!(third.is_err(), "two deliveries are unsettled");
        first.ack().await.unwrap();
        let third = next(&mut consumer).await;
        assert_eq!(third.message.id, "2");
        second.ack().await.unwrap();
        third.ack().await.unwrap();
    };
    bounded("three messages", join(publishing, consuming)).await;
}

pub(super) async fn consumers_share_a_queue<B: Backend>() {
    let backend = B::start().await;
    let (mut publisher, mut one) = open(&backend, 1).await;
    let mut other = backend.broker().consumer(backend.queue(), 1).await.unwrap();
    let publishing = publisher.publish(backend.queue(), (0..2).map(message).collect());
    let consuming = async {
        // Each holds one at the same time, so neither had both.
        let (first, second) = join(next(&mut one), next(&mut other)).await;
        assert_ne!(first.message.id, second.message.id);
        first.ack().await.unwrap();
        second.ack().await.unwrap();
    };
    let (outcomes, ()) = bounded("two messages", join(publishing, consuming)).await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
}

/// The tests of one backend.
macro_rules! conformance {
    ($backend:ty: $($fact:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                super::conformance::$fact::<$backend>().await;
            }
        )+
    };
    ($backend:ty) => {
        $crate::broker::conformance::conformance! { $backend:
            messages_arrive_in_the_order_they_were_published,
            every_attribute_survives,
            a_body_of_many_frames_arrives_whole,
            a_delivery_dropped_unsettled_comes_again,
            what_a_dropped_consumer_held_goes_to_the_next,
            a_dead_letter_is_kept_and_does_not_come_again,
            what_no_queue_is_bound_for_is_unroutable,
            an_event_goes_to_the_queues_that_receive_it,
            a_foreign_event_goes_to_none_of_our_queues,
            a_publisher_sends_on_while_outcomes_are_missing,
            the_depth_counts_what_waits_to_be_delivered,
            a_consumer_waits_and_a_cancelled_wait_loses_nothing,
            a_consumer_holds_no_more_than_its_prefetch,
            consumers_share_a_queue,
        }
    };
}
pub(super) use conformance;
