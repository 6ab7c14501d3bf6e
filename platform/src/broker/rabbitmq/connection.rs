//! A connection that can always be ended: every step has a timeout, and the socket is cut when the
//! broker does not answer our goodbye.

use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Channel, ConnectionProperties};

use super::{Error, Timeouts};
use crate::config::Secret;

pub(super) struct Connection {
    /// Declared first, so that the goodbye is on its way before the socket's end is set.
    connection: lapin::Connection,
    pub(super) timeouts: Timeouts,
    socket: Socket,
}

/// Reads the URL of a broker. An empty path names the vhost `/`, as no path does.
///
/// # Errors
/// [`Error::Topology`] where it has another form, which never repeats the URL.
pub(crate) fn parse_url(url: &Secret) -> Result<AMQPUri, Error> {
    // The parser's own words could repeat the password.
    let mut uri: AMQPUri = url.expose().parse().map_err(|_| Error::Topology {
        what: "the broker's URL is not of the form amqp://user:password@host:port/vhost".to_owned(),
    })?;
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    Ok(uri)
}

impl Connection {
    /// Connects and logs in. Heartbeats are asked for where the URL doesn't.
    pub(super) async fn open(url: &Secret, name: &str, timeouts: Timeouts) -> Result<Self, Error> {
        let mut uri = parse_url(url)?;
        let heartbeat = u16::try_from(timeouts.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(heartbeat);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()
            .map_err(|error| away("connecting to the broker", error))?;
        let socket = Socket::default();
        let seen = socket.clone();
        let connecting = lapin::Connection::connector(
            uri,
            runtime,
            async move |uri, runtime| {
                let tls = OwnedTLSConfig::default();
                let connecting = uri.connect_with_config_async(tls.as_ref(), &runtime);
                let stream = tokio::time::timeout(timeouts.step, connecting)
                    .await
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
                match &stream {
                    AsyncTcpStream::Plain(plain) => seen.keep(plain.get_ref()),
                    AsyncTcpStream::Rustls(tls) => seen.keep(tls.get_ref().0.get_ref()),
                    // Other ways of TLS, which this build does not have.
                    _ => {}
                }
                Ok(stream)
            },
            properties,
        );
        // Whatever ends this before there is a connection, a caller that has lost patience too.
        let opening = CutOnDrop(Some(socket));
        let connection = step(timeouts.step, "connecting to the broker", connecting).await?;
        Ok(Self {
            connection,
            timeouts,
            socket: opening.disarm(),
        })
    }

    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        self.step("opening a channel", self.connection.create_channel())
            .await
    }

    pub(super) async fn step<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Error> {
        step(self.timeouts.step, doing, work).await
    }

    /// Waits for the broker's answer to the goodbye. A process that ends does not wait for a connection that is dropped,
    /// and the broker would log that one as lost.
    pub(super) async fn close(&self) -> Result<(), Error> {
        let closing = self.connection.close(200, "".into());
        self.step("closing the connection", closing).await
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker reads nothing from us, because it is short of memory or disk.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().connected() && self.connection.status().blocked()
    }
}

pub(super) async fn step<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| away(doing, error)),
        Err(_) => Err(Error::Away {
            doing,
            source: format!("no answer within {limit:?}").into(),
        }),
    }
}

pub(super) fn away(doing: &'static str, error: lapin::Error) -> Error {
    Error::Away {
        doing,
        source: Box::new(Reason(error)),
    }
}

/// An error of lapin as a link of a chain: its own words repeat those of its source, so it has
/// none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Reason(pub(super) lapin::Error);

/// A second handle to the connection's socket. lapin waits without end for the answer to its
/// goodbye (and before that to its greeting), on a thread of its own: on a broker that has gone
/// dumb every attempt would leave one behind.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stream: Option<TcpStream>,
    cut: bool,
}

/// How long the broker may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

impl Socket {
    fn keep(&self, stream: &tokio::net::TcpStream) {
        // Messages are small and their confirms are waited for: no gathering of packets.
        let _ = stream.set_nodelay(true);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.stream = duplicate(stream).ok();
        state.shut();
    }

    /// Ends the connection now, or as soon as there is one.
    fn cut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut = true;
        state.shut();
    }
}

impl State {
    fn shut(&mut self) {
        if self.cut
            && let Some(stream) = self.stream.take()
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct CutOnDrop(Option<Socket>);

impl CutOnDrop {
    fn disarm(mut self) -> Socket {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.cut();
        }
    }
}

#[cfg(unix)]
fn duplicate(stream: &tokio::net::TcpStream) -> std::io::Result<TcpStream> {
    use std::os::fd::AsFd;
    stream.as_fd().try_clone_to_owned().map(TcpStream::from)
}

#[cfg(windows)]
fn duplicate(stream: &tokio::net::TcpStream) -> std::io::Result<TcpStream> {
    use std::os::windows::io::AsSocket;
    stream.as_socket().try_clone_to_owned().map(TcpStream::from)
}

impl Drop for Connection {
    fn drop(&mut self) {
        let socket = self.socket.clone();
        // A thread and not a task, because a connection may be dropped when the runtime is gone
        // already.
        let spawned = std::thread::Builder::new()
            .name("amqp-goodbye".to_owned())
            .spawn(move || {
                std::thread::sleep(GOODBYE);
                socket.cut();
            });
        if spawned.is_err() {
            self.socket.cut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_without_a_vhost_names_the_default_one() {
        for (url, vhost) in [
            ("amqp://host", "/"),
            ("amqp://user:password@host:5672", "/"),
            ("amqp://host/", "/"),
            ("amqp://host/?heartbeat=5", "/"),
            ("amqp://host?heartbeat=5", "/"),
            ("amqp://host/%2f", "/"),
            ("amqps://host/eu", "eu"),
            ("amqp://host/team%2Feu", "team/eu"),
        ] {
            let uri = parse_url(&Secret::new(url)).unwrap();
            assert_eq!(uri.vhost, vhost, "{url}");
        }
    }

    #[test]
    fn url_of_another_form_is_refused_unquoted() {
        for url in [
            "",
            "hunter2",
            "http://u:hunter2@host",
            "amqp://u:hunter2@host:port/",
        ] {
            let error = parse_url(&Secret::new(url)).unwrap_err().to_string();
            assert!(error.contains("amqp://"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
