//! A server that dies in the middle of its work and comes back with its data.

use std::collections::HashSet;

use futures_util::future::join;
use platform::test_support::RabbitMq as Server;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_mid_batch_keeps_all_that_it_confirmed_and_serves_again() {
    let server = Server::own().await;
    let backend = RabbitMq::at(server.url.clone(), topology(), Timeouts::default());
    drop(backend.broker().publisher().await.unwrap());
    // The queue is there, and with this also on disk.
    server.restart().await;
    let mut consumer = backend
        .broker()
        .consumer(backend.queue(), 100)
        .await
        .unwrap();
    let publishing = async {
        let mut confirmed = HashSet::new();
        let mut publisher = backend.broker().publisher().await.unwrap();
        for batch in 0.. {
            let ids = batch * 200..(batch + 1) * 200;
            let batch: Vec<Message> = ids.map(message).collect();
            let outcomes = publisher.publish(backend.queue(), batch.clone()).await;
            let outcomes = batch.into_iter().zip(outcomes);
            let settled = outcomes.filter(|(_, outcome)| *outcome == Outcome::Confirmed);
            let before = confirmed.len();
            confirmed.extend(settled.map(|(message, _)| message.id));
            if confirmed.len() < before + 200 {
                break;
            }
        }
        confirmed
    };
    let killing = async {
        let probe = async || consumer.next().await.ok();
        until("something has arrived", LIMIT, probe).await;
        server.kill().await;
        while consumer.next().await.is_ok() {}
    };
    let (confirmed, ()) = bounded("the end of the server", join(publishing, killing)).await;
    assert!(!confirmed.is_empty());

    let away = backend.broker().publisher().await.err().unwrap();
    assert!(matches!(away, Error::Away { .. }), "{away:?}");
    server.start().await;
    let probe = async || {
        let mut publisher = backend.broker().publisher().await.ok()?;
        let outcomes = publisher
            .publish(backend.queue(), vec![message("last")])
            .await;
        (outcomes == [Outcome::Confirmed]).then_some(())
    };
    until("it confirms again", LIMIT, probe).await;

    let mut consumer = backend
        .broker()
        .consumer(backend.queue(), 1000)
        .await
        .unwrap();
    let mut arrived = HashSet::new();
    while !arrived.contains("last") {
        let delivery = next(&mut consumer).await;
        arrived.insert(delivery.message.id.clone());
        delivery.ack().await.unwrap();
    }
    let lost: Vec<_> = confirmed.difference(&arrived).collect();
    assert!(
        lost.is_empty(),
        "{} of {} confirmed were lost",
        lost.len(),
        confirmed.len()
    );
}
