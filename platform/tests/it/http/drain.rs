//! What clients meet while the server drains.

use std::time::{Duration, Instant};

use platform::http::{Limits, Server};
use tokio::net::TcpStream;

use super::client::{Served, server};

fn draining(drain_delay: Duration, grace: Duration) -> Server {
    Server {
        drain_delay,
        grace,
        ..server(Limits::default())
    }
}

#[tokio::test]
async fn request_under_way_is_answered_and_its_connection_closed() {
    let mut served = Served::start(draining(Duration::ZERO, Duration::from_secs(10))).await;
    let mut connection = served.connect().await;
    connection.request("/held").await;
    // It is under way once another request was answered after it.
    served.get("/").await;
    served.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.held.add_permits(1);
    let answer = connection.rest().await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    served.ended().await;
}

#[tokio::test]
async fn connections_are_accepted_during_the_drain_delay() {
    let delay = Duration::from_secs(1);
    let mut served = Served::start(draining(delay, Duration::from_secs(10))).await;
    let mut kept = served.connect().await;
    kept.request("/").await;
    assert!(!kept.head().await.contains("connection: close"));
    let stopped = Instant::now();
    served.stop.cancel();
    tokio::task::yield_now().await;
    for path in ["/", "/health"] {
        let answer = served.get(path).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    kept.request("/").await;
    assert!(kept.head().await.contains("connection: close"));
    assert_eq!(kept.rest().await, "");
    served.ended().await;
    assert!(stopped.elapsed() >= delay);
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn idle_connection_does_not_hold_up_the_end() {
    let mut served = Served::start(draining(Duration::ZERO, Duration::from_secs(60))).await;
    let mut idle = served.connect().await;
    idle.request("/").await;
    idle.head().await;
    let mut silent = served.connect().await;
    let mut half = served.connect().await;
    half.send("GET / HT").await;
    served.get("/").await;
    let stopped = Instant::now();
    served.stop.cancel();
    served.ended().await;
    assert!(stopped.elapsed() < Duration::from_secs(10));
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
    half.rest().await;
}

#[tokio::test]
async fn request_that_outlasts_the_grace_is_aborted() {
    let mut served = Served::start(draining(Duration::ZERO, Duration::from_millis(200))).await;
    let mut connection = served.connect().await;
    connection.request("/held").await;
    served.get("/").await;
    served.stop.cancel();
    served.ended().await;
    assert_eq!(connection.rest().await, "");
}

/// As a client of a balancer: keeps its connection, honours `Connection: close`, and goes elsewhere where none is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_keep_alive_client_fails() {
    let mut served = Served::start(draining(
        Duration::from_millis(500),
        Duration::from_secs(10),
    ))
    .await;
    let address = served.address;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(async move {
            let mut answered = 0;
            while let Ok(stream) = TcpStream::connect(address).await {
                let mut connection = super::client::Connection::of(stream);
                loop {
                    connection.request("/").await;
                    let answer = connection.head().await;
                    assert!(
                        answer.starts_with("http/1.1 200"),
                        "{answered} were answered, then {answer:?}"
                    );
                    answered += 1;
                    if answer.contains("connection: close") {
                        break;
                    }
                }
            }
            answered
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    served.stop.cancel();
    served.ended().await;
    while let Some(client) = clients.join_next().await {
        assert!(client.unwrap() > 10);
    }
}
