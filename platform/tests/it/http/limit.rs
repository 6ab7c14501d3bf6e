//! Limits of time, size and number.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use platform::http::Limits;
use platform::test_support::until;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};

use super::client::{Served, server};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits {
        head: LONG,
        reserved_head: LONG,
        body: LONG,
        response: LONG,
        idle: LONG,
        ..Limits::default()
    }
}

#[tokio::test]
async fn slow_head_is_answered_408() {
    let served = Served::start(server(Limits {
        head: SHORT,
        ..limits()
    }))
    .await;
    let mut connection = served.connect().await;
    let begun = Instant::now();
    // Every byte is in time; the whole head is not.
    for byte in "GET / HTTP/1.1\r\nhost: localhost\r\nx: ".chars().cycle() {
        if begun.elapsed() > SHORT || !connection.try_send(&byte.to_string()).await {
            break;
        }
        tokio::time::sleep(SHORT / 10).await;
    }
    let answer = connection.rest().await;
    assert!(answer.starts_with("http/1.1 408"), "{answer}");
    assert!(answer.contains("\"request_timeout\""), "{answer}");
    assert!(begun.elapsed() < LONG / 4);
}

#[tokio::test]
async fn silent_connection_is_closed_without_a_word() {
    let served = Served::start(server(Limits {
        head: SHORT,
        ..limits()
    }))
    .await;
    assert_eq!(served.connect().await.rest().await, "");
}

#[tokio::test]
async fn slow_body_is_answered_408() {
    let served = Served::start(server(Limits {
        body: SHORT,
        ..limits()
    }))
    .await;
    let mut connection = served.connect().await;
    connection
        .send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc")
        .await;
    let answer = connection.rest().await;
    assert!(answer.starts_with("http/1.1 408"), "{answer}");
}

#[tokio::test]
async fn slow_response_is_answered_503() {
    let served = Served::start(server(Limits {
        response: SHORT,
        ..limits()
    }))
    .await;
    let mut connection = served.connect().await;
    connection.request("/held").await;
    let answer = connection.rest().await;
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let served = Served::start(server(Limits {
        idle: SHORT,
        ..limits()
    }))
    .await;
    let mut connection = served.connect().await;
    for _ in 0..3 {
        connection.request("/").await;
        assert!(connection.head().await.starts_with("http/1.1 200"));
        tokio::time::sleep(SHORT / 3).await;
    }
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn late_head_on_a_kept_connection_is_answered_408() {
    let served = Served::start(server(Limits {
        head: SHORT,
        ..limits()
    }))
    .await;
    let mut connection = served.connect().await;
    connection.request("/").await;
    assert!(connection.head().await.starts_with("http/1.1 200"));
    tokio::time::sleep(SHORT * 2).await;
    connection.send("GET / HTTP").await;
    assert!(connection.rest().await.starts_with("http/1.1 408"));
}

#[tokio::test]
async fn large_head_is_answered_431() {
    let served = Served::start(server(limits())).await;
    let large = format!("x: {}\r\n", "y".repeat(40_000));
    let many = (0..200)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    for headers in [large, many] {
        let mut connection = served.connect().await;
        connection
            .send(&format!(
                "GET / HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
            ))
            .await;
        let answer = connection.rest().await;
        assert!(answer.starts_with("http/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let few = Limits {
        connections: 10,
        per_peer: 10,
        reserved: 2,
        ..limits()
    };
    let served = Served::start(server(few)).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(served.connect().await);
    }
    until("a new client is served", LONG, async || {
        let answer = served.get("/").await;
        answer.starts_with("http/1.1 200").then_some(())
    })
    .await;
    // And so is everyone after it.
    for _ in 0..5 {
        tokio::time::sleep(SHORT).await;
        assert!(served.get("/").await.starts_with("http/1.1 200"));
    }
}

#[tokio::test]
async fn slow_bodies_give_way_to_new_connections() {
    let few = Limits {
        connections: 4,
        per_peer: 4,
        reserved: 1,
        ..limits()
    };
    let served = Served::start(server(few)).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut connection = served.connect().await;
        connection
            .send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\na")
            .await;
        slow.push(connection);
    }
    tokio::time::sleep(SHORT).await;
    assert!(served.get("/").await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn health_is_answered_while_every_connection_works() {
    let few = Limits {
        connections: 3,
        per_peer: 3,
        reserved: 2,
        ..limits()
    };
    let served = Served::start(server(few)).await;
    let mut working = Vec::new();
    for _ in 0..3 {
        let mut connection = served.connect().await;
        connection.request("/held").await;
        working.push(connection);
    }
    let refused = until("the maximum is reached", LONG, async || {
        let answer = served.get("/").await;
        answer.starts_with("http/1.1 503").then_some(answer)
    })
    .await;
    for header in [
        "retry-after: 1",
        "connection: close",
        "content-type: application/problem+json",
    ] {
        assert!(refused.contains(header), "{refused}");
    }
    for _ in 0..10 {
        let answer = served.get("/health").await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    served.held.add_permits(3);
    for connection in &mut working {
        assert!(connection.head().await.starts_with("http/1.1 200"));
    }
    until("there is room again", LONG, async || {
        let answer = served.get("/").await;
        answer.starts_with("http/1.1 200").then_some(())
    })
    .await;
}

/// As a process without a free file descriptor: accepting fails at once, the connection stays in the queue.
struct Exhausted {
    inner: TcpListener,
    failures: Arc<AtomicUsize>,
    is_over: Arc<AtomicUsize>,
}

impl Acceptor for Exhausted {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        Vec::new()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        const EMFILE: i32 = 24;
        if self.is_over.load(Ordering::SeqCst) == 0 {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let (stream, remote) = self.inner.accept().await?;
        let local = LocalAddr(stream.local_addr()?.into());
        Ok((stream, local, RemoteAddr(remote.into()), Scheme::HTTP))
    }
}

#[tokio::test]
async fn accepting_pauses_without_descriptors_and_goes_on() {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    let [failures, is_over] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let exhausted = Exhausted {
        inner,
        failures: failures.clone(),
        is_over: is_over.clone(),
    };
    let served = Served::on(exhausted, address, server(limits()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tried = failures.load(Ordering::SeqCst);
    assert!(
        (2..=11).contains(&tried),
        "accept was called {tried} times in a second"
    );
    is_over.store(1, Ordering::SeqCst);
    assert!(served.get("/").await.starts_with("http/1.1 200"));
}
