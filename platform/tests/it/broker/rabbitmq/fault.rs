//! A network that swallows, a broker that blocks.

use super::*;

/// Short enough for a test to see them run out.
const SHORT: Timeouts = Timeouts {
    step: Duration::from_secs(2),
    confirm: Duration::from_millis(500),
    heartbeat: Duration::from_secs(1),
};

/// As short, but a broker may be silent.
const PATIENT: Timeouts = Timeouts {
    heartbeat: Duration::from_secs(30),
    ..SHORT
};

/// A broker behind a proxy.
async fn proxied(timeouts: Timeouts) -> (RabbitMq, Proxy) {
    let mut uri: lapin::uri::AMQPUri = rabbitmq_url().expose().parse().unwrap();
    let proxy = Proxy::start(format!("{}:{}", uri.authority.host, uri.authority.port)).await;
    uri.authority.host = proxy.address.ip().to_string();
    uri.authority.port = proxy.address.port();
    (
        RabbitMq::at(Secret::new(uri.to_string()), topology(), timeouts),
        proxy,
    )
}

async fn all_closed(proxy: &Proxy) {
    let probe = async || (proxy.open() == 0).then_some(());
    until("every connection is closed", Duration::from_secs(15), probe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swallowed_confirm_is_unknown_and_the_message_may_be_there() {
    let (backend, proxy) = proxied(SHORT).await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let outcomes = publisher.publish(backend.queue(), vec![message(1)]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);

    proxy.set(Mode::SwallowAnswers);
    let outcomes = bounded(
        "it",
        publisher.publish(backend.queue(), vec![message(2), message(3)]),
    );
    assert_eq!(outcomes.await, [Outcome::Unknown, Outcome::Unknown]);
    // Its later confirms could belong to either batch, so it has done its service.
    proxy.set(Mode::Pass);
    let outcomes = publisher.publish(backend.queue(), vec![message(4)]).await;
    assert_eq!(outcomes, [Outcome::Unknown]);

    let mut publisher = backend.broker().publisher().await.unwrap();
    let outcomes = publisher
        .publish(backend.queue(), vec![message(2), message(3)])
        .await;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
    let mut consumer = backend
        .broker()
        .consumer(backend.queue(), 10)
        .await
        .unwrap();
    for expected in ["1", "2", "3", "2", "3"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.message.id, expected);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_gone_dumb_is_closed_for_good() {
    // Long before a heartbeat is missed.
    let (backend, proxy) = proxied(PATIENT).await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let consumer = backend.broker().consumer(backend.queue(), 1).await.unwrap();
    proxy.set(Mode::Swallow);
    let outcomes = bounded(
        "the outcome",
        publisher.publish(backend.queue(), vec![message(1)]),
    )
    .await;
    assert_eq!(outcomes, [Outcome::Unknown]);
    drop((publisher, consumer));
    all_closed(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_learns_that_its_connection_has_gone_dumb() {
    let (backend, proxy) = proxied(SHORT).await;
    let mut consumer = backend.broker().consumer(backend.queue(), 1).await.unwrap();
    proxy.set(Mode::Swallow);
    let error = bounded("the end of the wait", consumer.next())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Away { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_never_greets_is_away_and_leaves_nothing_open() {
    let (backend, proxy) = proxied(SHORT).await;
    proxy.set(Mode::Swallow);
    for _ in 0..3 {
        let error = bounded("the answer", backend.broker().publisher())
            .await
            .err()
            .unwrap();
        assert!(matches!(error, Error::Away { .. }), "{error:?}");
    }
    // And so does a caller that does not wait for the answer.
    let impatient = tokio::time::timeout(Duration::from_millis(200), backend.broker().publisher());
    assert!(impatient.await.is_err());
    all_closed(&proxy).await;
    proxy.set(Mode::Pass);
    backend.broker().publisher().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_unknown_at_once() {
    let (backend, proxy) = proxied(Timeouts::default()).await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let mut consumer = backend.broker().consumer(backend.queue(), 1).await.unwrap();
    proxy.set(Mode::SwallowAnswers);
    let started = Instant::now();
    let publishing = publisher.publish(backend.queue(), vec![message(1)]);
    let cutting = async {
        tokio::task::yield_now().await;
        proxy.cut();
    };
    let (outcomes, ()) = bounded(
        "the outcome",
        futures_util::future::join(publishing, cutting),
    )
    .await;
    assert_eq!(outcomes, [Outcome::Unknown]);
    bounded("the end of the wait", consumer.next())
        .await
        .err()
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

/// Of channel 0, class connection: what the broker says when it runs short, and when it doesn't any
/// more. <https://www.rabbitmq.com/docs/connection-blocked>
fn blocked(reason: &str) -> Vec<u8> {
    let mut payload = vec![0, 10, 0, 60, u8::try_from(reason.len()).unwrap()];
    payload.extend(reason.as_bytes());
    frame(payload)
}

fn unblocked() -> Vec<u8> {
    frame(vec![0, 10, 0, 61])
}

fn frame(payload: Vec<u8>) -> Vec<u8> {
    let mut frame = vec![1, 0, 0];
    frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame.push(0xce);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_publisher_refuses_and_goes_on_when_it_is_freed() {
    let (backend, proxy) = proxied(PATIENT).await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let limit = Duration::from_secs(5);
    proxy.inject(blocked("low on memory"));
    until("it is blocked", limit, async || {
        publisher.is_blocked().then_some(())
    })
    .await;
    let outcomes = publisher.publish(backend.queue(), vec![message(1)]).await;
    assert_eq!(outcomes, [Outcome::Refused]);
    proxy.inject(unblocked());
    until("it is free", limit, async || {
        (!publisher.is_blocked()).then_some(())
    })
    .await;
    let outcomes = publisher.publish(backend.queue(), vec![message(1)]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_dropped_publisher_is_blocked_no_other_opens() {
    let (backend, proxy) = proxied(PATIENT).await;
    let mut publisher = backend.broker().publisher().await.unwrap();
    let limit = Duration::from_secs(5);
    proxy.set(Mode::SwallowAnswers);
    proxy.inject(blocked("low on disk"));
    // Blocked while the batch is under way.
    let outcomes = publisher.publish(backend.queue(), vec![message(1)]).await;
    assert_ne!(outcomes, [Outcome::Confirmed]);
    until("it is blocked", limit, async || {
        publisher.is_blocked().then_some(())
    })
    .await;
    drop(publisher);
    proxy.set(Mode::Pass);
    for _ in 0..3 {
        let error = backend.broker().publisher().await.err().unwrap();
        let words = format!("{:#}", anyhow::Error::new(error));
        assert!(words.contains("short of memory or disk"), "{words}");
    }
    assert_eq!(proxy.open(), 1, "only the blocked connection is there");
    proxy.inject(unblocked());
    let probe = async || backend.broker().publisher().await.ok();
    let mut publisher = until("a publisher opens", limit, probe).await;
    let outcomes = publisher.publish(backend.queue(), vec![message(1)]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
}
