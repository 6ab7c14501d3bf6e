//! The broker inside the process: the suite, and what follows from its keeping nothing on disk.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, join3};
use platform::broker::{Broker, Message, Outcome, Topology};
use platform::test_support::until;

use super::conformance::{Backend, EVENT, bounded, conformance, message, next, open};

struct InProcess(Broker);

impl Backend for InProcess {
    async fn start() -> Self {
        Self(Broker::in_process(&Topology {
            exchange: "tests",
            queues: &[("things", &[EVENT]), ("others", &[])],
        }))
    }

    fn broker(&self) -> &Broker {
        &self.0
    }

    fn queue(&self) -> &'static str {
        "things"
    }

    async fn dead_letter(&self) -> Message {
        let Broker::InProcess(broker) = &self.0 else {
            unreachable!("it was made so")
        };
        let probe = async || broker.dead_letters("things").pop();
        until("a dead letter is kept", Duration::from_secs(5), probe).await
    }
}

conformance!(InProcess);

#[tokio::test]
async fn a_message_is_confirmed_only_when_its_consumer_has_settled_it() {
    let backend = InProcess::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let mut publishing = Box::pin(publisher.publish("things", vec![message(1)]));
    assert!((&mut publishing).now_or_never().is_none());
    let delivery = next(&mut consumer).await;
    assert!(
        (&mut publishing).now_or_never().is_none(),
        "it is delivered, but not settled"
    );
    delivery.ack().await.unwrap();
    assert_eq!(
        bounded("the outcome", publishing).await,
        [Outcome::Confirmed]
    );
}

#[tokio::test]
async fn nobody_knows_what_became_of_what_a_dropped_consumer_held() {
    let backend = InProcess::start().await;
    let (mut publisher, mut consumer) = open(&backend, 10).await;
    let publishing = publisher.publish("things", vec![message(1), message(2)]);
    let consuming = async {
        next(&mut consumer).await.ack().await.unwrap();
        let _held = next(&mut consumer).await;
        drop(consumer);
    };
    let (outcomes, ()) = bounded("the outcomes", join(publishing, consuming)).await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_gives_up_on_an_absent_consumer_and_takes_its_messages_back() {
    let backend = InProcess::start().await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let outcomes = publisher
        .publish("things", vec![message("old"), message("old too")])
        .await;
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::Unknown]);

    let mut consumer = backend.broker().consumer("things", 10).await.unwrap();
    let publishing = publisher.publish("things", vec![message("new")]);
    let consuming = async {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.id, "new");
        delivery.ack().await.unwrap();
    };
    let (outcomes, ()) = join(publishing, consuming).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_keeps_its_publisher_waiting() {
    let backend = InProcess::start().await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    // More than the queue has room for; nothing is dropped as the consumer catches up.
    let publishing = publisher.publish("things", (0..3000).map(message).collect());
    let consuming = async {
        let mut consumer = backend.broker().consumer("things", 10).await.unwrap();
        for expected in 0..3000 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.message.id, expected.to_string());
            delivery.ack().await.unwrap();
        }
    };
    let (outcomes, ()) = join(publishing, consuming).await;
    assert_eq!(outcomes, vec![Outcome::Confirmed; 3000]);
}

#[tokio::test]
async fn queues_do_not_disturb_each_other() {
    let backend = InProcess::start().await;
    let (mut publisher, mut things) = open(&backend, 10).await;
    let mut other_publisher = backend.broker().publisher().await.unwrap();
    let mut others = backend.broker().consumer("others", 10).await.unwrap();
    let consuming = async {
        let (thing, other) = join(next(&mut things), next(&mut others)).await;
        assert_eq!(
            (thing.message.id.as_str(), other.message.id.as_str()),
            ("thing", "other")
        );
        thing.ack().await.unwrap();
        other.ack().await.unwrap();
    };
    let work = join3(
        publisher.publish("things", vec![message("thing")]),
        other_publisher.publish("others", vec![message("other")]),
        consuming,
    );
    bounded("both", work).await;
}

#[tokio::test]
async fn a_queue_that_is_not_in_the_topology_has_no_consumer() {
    let backend = InProcess::start().await;
    let error = backend
        .broker()
        .consumer("nobody's", 1)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("nobody's"), "{error}");
}
