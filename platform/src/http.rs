//! The HTTP/1.1 server of every program: a maximum of connections in total and per peer, a time limit for each
//! state of a connection, and draining. Requests for health are answered also while the maximum is reached.

mod activity;
mod body;
mod connection;
mod header;
mod limits;
mod refusal;
pub mod site;
mod table;
mod tcp;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use poem::endpoint::BoxEndpoint;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{EndpointExt, IntoEndpoint, Response};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use connection::Connection;
pub use header::secure;
pub use limits::Limits;
use table::{Slot, Table, Waiting};
pub use tcp::acceptor;

/// How long accepting pauses when the system has no descriptor or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection that there is no place for is held for so long, and a place is looked for so often: those that send
/// nothing become old enough to give way meanwhile.
const HELD_FOR: Duration = Duration::from_millis(500);
const HELD_RETRY: Duration = Duration::from_millis(5);
/// How long a client that has connected, but sent no request yet, is waited for at the end of a drain.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// How a program serves HTTP.
#[derive(Clone, Debug)]
pub struct Server {
    /// For the log and the metrics.
    pub name: &'static str,
    pub limits: Limits,
    /// Paths that are answered also while the maximum of connections is reached, such as health checks.
    pub always: &'static [&'static str],
    /// How long connections are still accepted after the stop, while readiness is 503 already.
    pub drain_delay: Duration,
    /// How long requests may take to finish after that.
    pub grace: Duration,
}

/// What the connections of a server share.
struct Shared {
    server: Server,
    endpoint: BoxEndpoint<'static, Response>,
    stop: CancellationToken,
}

/// Where a connection comes from and goes to.
struct Ends {
    local: LocalAddr,
    remote: RemoteAddr,
    scheme: Scheme,
}

impl Server {
    /// Serves `endpoint` until `stop`, then drains: accepts for the drain delay, closes each connection after its
    /// response, and waits for the requests that are being answered.
    ///
    /// # Errors
    /// When the listener has no address. An error of a single connection ends that connection.
    pub async fn run<A, E>(
        self,
        acceptor: A,
        endpoint: E,
        stop: CancellationToken,
    ) -> anyhow::Result<()>
    where
        A: Acceptor,
        E: IntoEndpoint,
        E::Endpoint: 'static,
    {
        let table = Arc::new(Table::new(self.name, self.limits));
        let (drain_delay, grace) = (self.drain_delay, self.grace);
        let shared = Arc::new(Shared {
            server: self,
            endpoint: endpoint.into_endpoint().map_to_response().boxed(),
            stop: stop.clone(),
        });
        let mut accepting = Accepting {
            acceptor,
            held: None,
            table: table.clone(),
            shared,
            tasks: JoinSet::new(),
            paused_until: None,
        };
        accepting.until(stop.cancelled()).await;
        accepting.until(tokio::time::sleep(drain_delay)).await;
        let tasks = accepting.finish();
        drain(tasks, &table, grace).await;
        Ok(())
    }
}

struct Accepting<A: Acceptor> {
    acceptor: A,
    /// The one that there was no place for, and since when.
    held: Option<(A::Io, Ends, Instant)>,
    table: Arc<Table>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    paused_until: Option<Instant>,
}

impl<A: Acceptor> Accepting<A> {
    /// Accepts connections until `end`.
    async fn until(&mut self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            let paused_until = self.paused_until;
            let is_held = self.held.is_some();
            let accept = async {
                if let Some(until) = paused_until {
                    sleep_until(until).await;
                }
                self.acceptor.accept().await
            };
            tokio::select! {
                biased;
                () = &mut end => return,
                Some(ended) = self.tasks.join_next() => report(ended),
                () = tokio::time::sleep(HELD_RETRY), if is_held => self.retry(),
                accepted = accept, if !is_held => self.take(accepted),
            }
        }
    }

    /// Takes what the system has accepted before, then stops listening: a connection that was established is not
    /// reset by that.
    fn finish(mut self) -> JoinSet<()> {
        self.retry();
        while let Some(accepted) = self.acceptor.accept().now_or_never() {
            let is_err = accepted.is_err();
            self.take(accepted);
            if is_err {
                break;
            }
        }
        self.tasks
    }

    fn take(&mut self, accepted: io::Result<(A::Io, LocalAddr, RemoteAddr, Scheme)>) {
        match accepted {
            Ok((io, local, remote, scheme)) => {
                if self.paused_until.take().is_some() {
                    tracing::info!(
                        server = self.shared.server.name,
                        "accepting connections again"
                    );
                }
                let ends = Ends {
                    local,
                    remote,
                    scheme,
                };
                self.place(io, ends, Instant::now());
            }
            // The client gave up; the next one may be waiting already.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if self.paused_until.is_none() {
                    tracing::warn!(
                        server = self.shared.server.name,
                        "accepting a connection failed, trying again every {ACCEPT_PAUSE:?}: {error}"
                    );
                }
                self.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
                // One that only waits gives its descriptor back.
                self.table.evict_longest_waiting();
            }
        }
    }

    fn retry(&mut self) {
        if let Some((io, ends, since)) = self.held.take() {
            self.place(io, ends, since);
        }
    }

    fn place(&mut self, io: A::Io, ends: Ends, since: Instant) {
        match self.table.admit(table::peer(&ends.remote)) {
            Some(slot) => self.serve(io, ends, slot),
            None if since.elapsed() < HELD_FOR => self.held = Some((io, ends, since)),
            None => {
                self.table.count("refused");
                refuse(io);
            }
        }
    }

    fn serve(&mut self, io: A::Io, ends: Ends, slot: Slot) {
        let connection = Connection {
            shared: self.shared.clone(),
            ends: Arc::new(ends),
            slot,
        };
        self.tasks.spawn(connection.serve(io));
    }
}

/// Closes the connections that wait for a client, and waits for the others to finish.
async fn drain(mut tasks: JoinSet<()>, table: &Table, grace: Duration) {
    let finish = async |tasks: &mut JoinSet<()>| {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
    };
    table.evict_all(Waiting::Between);
    if timeout(LAST_REQUEST.min(grace), finish(&mut tasks))
        .await
        .is_ok()
    {
        return;
    }
    table.evict_all(Waiting::ForHead);
    if timeout(grace, finish(&mut tasks)).await.is_err() {
        tracing::warn!(
            requests = tasks.len(),
            "requests were aborted, {grace:?} after the stop"
        );
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("serving a connection failed: {error}");
    }
}

/// A last word to a connection that there is no place for; nothing is waited for.
fn refuse(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = refusal::too_many_connections().to_bytes();
    let _ = io.write_all(&answer).now_or_never();
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
