//! A served endpoint, and connections on which every byte is the test's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use platform::http::{Limits, Server, acceptor};
use poem::listener::Acceptor;
use poem::{EndpointExt, Route, get, handler, web::Data};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    /// A request of /held is answered for each permit.
    pub(crate) held: Arc<Semaphore>,
    running: JoinSet<anyhow::Result<()>>,
}

#[handler]
async fn held(held: Data<&Arc<Semaphore>>) -> &'static str {
    held.acquire().await.unwrap().forget();
    "released"
}

#[handler]
fn hello() -> &'static str {
    "hello"
}

#[handler]
async fn echo(body: poem::Body) -> poem::Result<Vec<u8>> {
    Ok(body.into_vec().await?)
}

pub(crate) fn server(limits: Limits) -> Server {
    Server {
        name: "test",
        limits,
        always: &["/health"],
        drain_delay: Duration::ZERO,
        grace: Duration::from_secs(10),
    }
}

impl Served {
    pub(crate) async fn start(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::on(acceptor(listener).unwrap(), address, server)
    }

    pub(crate) fn on(
        acceptor: impl Acceptor + 'static,
        address: SocketAddr,
        server: Server,
    ) -> Self {
        let held_requests = Arc::new(Semaphore::new(0));
        let routes = Route::new()
            .at("/", get(hello))
            .at("/health", get(hello))
            .at("/held", get(held))
            .at("/echo", poem::post(echo))
            .data(held_requests.clone());
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(server.run(acceptor, routes, stop.clone()));
        Self {
            address,
            stop,
            held: held_requests,
            running,
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection(TcpStream::connect(self.address).await.unwrap())
    }

    /// The status of one request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> String {
        let mut connection = self.connect().await;
        connection.request(path).await;
        connection.head().await
    }

    pub(crate) async fn ended(&mut self) {
        let ended = timeout(PATIENCE, self.running.join_next()).await;
        ended.expect("the server ends").unwrap().unwrap().unwrap();
    }
}

pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self(stream)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, text: &str) -> bool {
        self.0.write_all(text.as_bytes()).await.is_ok()
    }

    pub(crate) async fn request(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
    }

    /// The next response up to the end of its head, in lower case; empty if the connection ends instead. The bodies here
    /// have a length.
    pub(crate) async fn head(&mut self) -> String {
        let read = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match self.0.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return String::new(),
                }
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split_once("content-length: ").map(|(_, rest)| rest);
            let length = length
                .and_then(|rest| rest.split_once("\r\n"))
                .map(|(text, _)| text);
            let mut body = vec![0; length.map_or(0, |text| text.parse().unwrap())];
            self.0.read_exact(&mut body).await.unwrap();
            head
        };
        timeout(PATIENCE, read)
            .await
            .expect("the server answers or closes")
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        let _ = read.expect("the server closes");
        String::from_utf8(rest).unwrap().to_lowercase()
    }
}
