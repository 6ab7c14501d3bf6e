//! A server that answers with the next of the given reactions, whatever it is asked, and keeps what it
//! was asked. For what no well-behaved server does.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::config::Secret;
use sync_worker::stripe::{Options, Stripe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) const KEY: &str = "sk_test_secret";

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reaction {
    /// The head's extra lines, and the body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Half of the body that the head has announced, and the end.
    Truncate(u16, Vec<u8>),
    /// A reset connection, before any answer.
    Reset,
    /// A connection that is closed in good order, before any answer.
    Close,
    /// No answer at all.
    Silence,
}

impl Reaction {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with_headers(status, &[], body)
    }

    pub(crate) fn with_headers(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        Self::Answer(status, headers.collect(), body.as_bytes().to_vec())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

#[derive(Default)]
struct State {
    reactions: VecDeque<Reaction>,
    seen: Vec<Seen>,
    connections: usize,
}

/// Stops when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// After the last reaction it says nothing more.
    pub(crate) async fn start(reactions: impl IntoIterator<Item = Reaction>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            reactions: reactions.into_iter().collect(),
            ..State::default()
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state.clone()));
        Self {
            url,
            state,
            _tasks: tasks,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

/// A client with a rate that no test notices and a timeout that no test waits for long.
pub(crate) fn client(url: &str) -> Stripe {
    let mut options = Options::new(Secret::new(KEY), url);
    options.timeout = Duration::from_secs(20);
    options.rate = 10_000.0;
    options.burst = 1_000;
    Stripe::new(options).unwrap()
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.lock().unwrap().connections += 1;
        connections.spawn(serve(stream, state.clone()));
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    while let Some(seen) = read(&mut stream).await {
        let reaction = {
            let mut state = state.lock().unwrap();
            state.seen.push(seen);
            state.reactions.pop_front()
        };
        match reaction {
            Some(Reaction::Answer(status, headers, body)) => {
                let head = head(status, &headers, body.len());
                let answer = [head.into_bytes(), body].concat();
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
            Some(Reaction::Truncate(status, body)) => {
                let head = head(status, &[("request-id", "req_cut".to_owned())], body.len());
                let answer = [head.as_bytes(), &body[..body.len() / 2]].concat();
                stream.write_all(&answer).await.unwrap();
                return;
            }
            Some(Reaction::Reset) => return stream.set_zero_linger().unwrap(),
            Some(Reaction::Close) => return,
            Some(Reaction::Silence) | None => return std::future::pending().await,
        }
    }
}

fn head(status: u16, headers: &[(&'static str, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status} Some Reason\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + 4 + length {
        more(stream, &mut bytes).await?;
    }
    Some(Seen {
        method: first.next().unwrap(),
        target: first.next().unwrap(),
        headers,
        body: String::from_utf8(bytes[end + 4..].to_vec()).unwrap(),
    })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let count = stream
        .read(&mut chunk)
        .await
        .ok()
        .filter(|count| *count > 0)?;
    bytes.extend_from_slice(&chunk[..count]);
    Some(())
}
