//! RabbitMQ, by lapin. Whoever holds a publisher or a consumer supervises it: after an error it is
//! dropped and opened anew, connection and all. lapin's own recovery stays off, because it would
//! hide which confirms were lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Error, Topology};
use crate::config::Secret;

mod confirm;
mod connection;
mod consumer;
mod envelope;
mod publisher;
mod refusal;
mod topology;

pub(crate) use connection::parse_url;
pub use consumer::Consumer;
pub(super) use consumer::Receipt;
pub use publisher::Publisher;

/// RabbitMQ at one address. Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    url: Secret,
    topology: Topology,
    client_name: String,
    timeouts: Timeouts,
    /// The connection that the broker last blocked, kept until it is free again.
    blocked: publisher::Blocked,
}

/// How long to wait for the broker.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For one step: to connect, to open a channel, to declare a queue, to send an ack.
    pub step: Duration,
    /// For the confirm of a message.
    pub confirm: Duration,
    /// Between heartbeats, in whole seconds; after two without one the connection counts as lost.
    pub heartbeat: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(10),
            confirm: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
        }
    }
}

impl Broker {
    pub fn new(url: Secret, topology: Topology, client_name: &str) -> Self {
        Self {
            url,
            topology,
            client_name: client_name.to_owned(),
            timeouts: Timeouts::default(),
            blocked: Arc::new(Mutex::new(None)),
        }
    }

    /// The same broker with other timeouts.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    pub(super) async fn publisher(&self) -> Result<Publisher, Error> {
        publisher::ensure_free(&self.blocked)?;
        let (connection, channel) = Box::pin(self.open()).await?;
        Publisher::open(connection, channel, self).await
    }

    pub(super) async fn consumer(&self, queue: &str, prefetch: u16) -> Result<Consumer, Error> {
        let (connection, channel) = Box::pin(self.open()).await?;
        Consumer::open(connection, channel, queue, prefetch).await
    }

    pub(super) async fn depth(&self, queue: &str) -> Result<u64, Error> {
        let (connection, channel) = Box::pin(self.open()).await?;
        topology::depth(&connection, &channel, queue).await
    }

    pub(super) async fn declare(&self) -> Result<(), Error> {
        // A channel that is dropped closes itself, beside the connection.
        let (connection, _channel) = Box::pin(self.open()).await?;
        connection.close().await
    }

    /// A connection with one channel on it, and the topology in place.
    async fn open(&self) -> Result<(connection::Connection, lapin::Channel), Error> {
        let connection =
            connection::Connection::open(&self.url, &self.client_name, self.timeouts).await?;
        let channel = topology::ensure(&self.topology, &connection).await?;
        Ok((connection, channel))
    }
}
