//! The server around it: sockets, readiness, draining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::App;
use platform::http::Limits;
use platform::test_support::{TestDatabase, each_database, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::app;

/// As the program's, but without a drain delay.
fn server() -> platform::http::Server {
    platform::http::Server {
        name: "api",
        limits: Limits::default(),
        always: &["/health/live", "/health/ready"],
        drain_delay: Duration::ZERO,
        grace: Duration::from_secs(10),
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinSet<anyhow::Result<()>>,
}

impl Server {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::of(app(database, "")).await
    }

    pub(crate) async fn of(app: App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(api::run(listener, app, server(), stop.clone()));
        Self {
            address,
            stop,
            running,
        }
    }

    /// Sends the text as it is, and returns all that comes back until the server closes.
    async fn exchange(&self, text: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text).await.unwrap();
        let mut answer = Vec::new();
        // A server that refuses early may reset the connection behind its answer.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.exchange(request.as_bytes()).await
    }

    pub(crate) async fn stopped(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.running.join_next()).await;
        ended.expect("it stops").unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_while_the_database_answers() {
    each_database(async |database| {
        let server = Server::start(&database).await;
        let ready = async |expected: &str| {
            until(
                "readiness follows the database",
                Duration::from_secs(20),
                async || {
                    let answer = server.get("/health/ready").await;
                    answer
                        .starts_with(&format!("HTTP/1.1 {expected}"))
                        .then_some(answer)
                },
            )
            .await
        };
        let answer = ready("200").await;
        let report: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(report["components"][0]["name"], "database");
        database.connection.clone().close().await.unwrap();
        ready("503").await;
        assert!(server.get("/health/live").await.starts_with("HTTP/1.1 200"));
        server.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_waiting_and_answers_what_is_under_way() {
    each_database(async |database| {
        let looked = Arc::new(Notify::new());
        let mut app = app(&database, "");
        app.db.set_metric_callback({
            let looked = Arc::clone(&looked);
            move |query| {
                if query.statement.sql.contains("stripe_link") {
                    looked.notify_one();
                }
            }
        });
        let server = Server::of(app).await;
        let body = r#"{"email":"bob@example.com"}"#;
        let created = server
            .exchange(
                format!(
                    "POST /api/v1/customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            )
            .await;
        assert!(created.starts_with("HTTP/1.1 201"), "{created}");
        let started = Instant::now();
        let waiting = server.get("/api/v1/customers/bob@example.com/sync?wait=60s");
        let stop = async {
            // The wait has begun once it has read the state for the first time.
            let begun = tokio::time::timeout(Duration::from_secs(20), looked.notified());
            begun.await.expect("the wait reads the state");
            server.stop.cancel();
        };
        let (answer, ()) = tokio::join!(waiting, stop);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("\"pending\""), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(30));
        server.stopped().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_without_a_length_are_bounded_too() {
    each_database(async |database| {
        let server = Server::start(&database).await;
        let mut request = b"POST /api/v1/customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
            content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
        for _ in 0..17 {
            request.extend_from_slice(b"1000\r\n");
            request.extend_from_slice(&[b' '; 4096]);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let answer = server.exchange(&request).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("payload_too_large"), "{answer}");
        server.stopped().await;
    })
    .await;
}
