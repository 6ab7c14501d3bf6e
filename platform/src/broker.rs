//! Messages between processes. One contract with two backends: RabbitMQ on servers, and a broker
//! inside the process for the embedded mode. Both promise at-least-once, and that a message counts
//! as published only when it can't be lost any more.

use chrono::{DateTime, Utc};

use crate::config::Secret;

pub mod in_process;
pub mod rabbitmq;

pub use bytes::Bytes;

/// A message: the attributes of a CloudEvent (<https://cloudevents.io>, version 1.0) and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Identifies the event within its source. At most 255 bytes; a repetition has the same.
    pub id: String,
    /// The event's type, such as `com.example.order.created`.
    pub kind: String,
    pub source: String,
    pub subject: String,
    /// The schema of the body, as a URI.
    pub schema: Option<String>,
    pub time: DateTime<Utc>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The event's data: JSON, or empty.
    pub body: Bytes,
}

/// The queues of an application, and the exchange on which it publishes its events.
///
/// On RabbitMQ `exchange` is a direct exchange to which other applications bind queues of their own.
/// Our own queues are bound to the exchange `<exchange>.internal`. Beside every queue `q` stands
/// `q.dead`, which keeps its dead letters.
#[derive(Clone, Debug)]
pub struct Topology {
    pub exchange: &'static str,
    /// The name of each queue, and the routing keys of the events that it receives.
    pub queues: &'static [(&'static str, &'static [&'static str])],
}

/// Where a message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To one queue of the topology, by its name.
    Queue(&'static str),
    /// To every queue that is bound to this routing key, ours and those of other applications. It is
    /// `Unroutable` if there is none.
    Event(&'static str),
    /// The same without our own queues. It is `Confirmed` also if there is no queue.
    ForeignEvent(&'static str),
}

impl From<&'static str> for Route {
    fn from(queue: &'static str) -> Self {
        Self::Queue(queue)
    }
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it and keeps it.
    Confirmed,
    /// The broker did not take it, or is blocked and was not even asked; the same publisher may try
    /// again, after a pause.
    Refused,
    /// No queue is bound for it: a mistake in the topology, which trying again does not mend.
    Unroutable,
    /// Nobody knows: publish it again, with another publisher.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker can't be reached, or does not answer. Try again, after a pause.
    #[error("{doing}")]
    Away {
        /// What was being done.
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What the broker has doesn't fit what this application needs, and a person has to mend it.
    #[error("{what}")]
    Topology { what: String },
    /// The connection that this belonged to has ended; open another.
    #[error("the connection to the broker has ended")]
    Closed,
}

/// A broker to open publishers and consumers on. Clones are the same broker.
#[derive(Clone)]
pub enum Broker {
    InProcess(in_process::Broker),
    RabbitMq(rabbitmq::Broker),
}

/// Publishes in order. Messages are sent with [`Publisher::send`], and [`Publisher::outcomes`] reports
/// what became of them; in between they are in flight.
pub enum Publisher {
    InProcess(in_process::Publisher),
    RabbitMq(Box<rabbitmq::Publisher>),
}

/// Receives the messages of one queue. Dropping it hands its unsettled deliveries back.
pub enum Consumer {
    InProcess(in_process::Consumer),
    RabbitMq(Box<rabbitmq::Consumer>),
}

/// A message that is ours until it is settled.
///
/// Dropped unsettled, it is delivered again at once, as a further attempt. RabbitMQ makes a message
/// a dead letter after 20 of them, so a consumer that can't work for a while waits with the
/// delivery in its hand.
pub struct Delivery {
    pub message: Message,
    /// Which delivery of this message it is: 1 is the first.
    pub attempt: u32,
    receipt: Receipt,
}

enum Receipt {
    InProcess(in_process::Receipt),
    RabbitMq(rabbitmq::Receipt),
}

impl Broker {
    /// A broker inside this process, for publishers and consumers of clones of it.
    pub fn in_process(topology: &Topology) -> Self {
        Self::InProcess(in_process::Broker::new(topology))
    }

    /// RabbitMQ at `url`; `client_name` is what its management shows for our connections. Connects
    /// nowhere yet.
    pub fn rabbitmq(url: Secret, topology: Topology, client_name: &str) -> Self {
        Self::RabbitMq(rabbitmq::Broker::new(url, topology, client_name))
    }

    /// Opens a publisher, on a connection of its own, with the topology in place.
    pub async fn publisher(&self) -> Result<Publisher, Error> {
        Ok(match self {
            Self::InProcess(broker) => Publisher::InProcess(broker.publisher()),
            Self::RabbitMq(broker) => Publisher::RabbitMq(Box::new(broker.publisher().await?)),
        })
    }

    /// Opens a consumer of `queue`, on a connection of its own, with the topology in place. It
    /// holds up to `prefetch` unsettled deliveries.
    pub async fn consumer(&self, queue: &'static str, prefetch: u16) -> Result<Consumer, Error> {
        Ok(match self {
            Self::InProcess(broker) => Consumer::InProcess(broker.consumer(queue, prefetch)?),
            Self::RabbitMq(broker) => {
                Consumer::RabbitMq(Box::new(broker.consumer(queue, prefetch).await?))
            }
        })
    }
}

impl Broker {
    /// Puts the topology in place; a user who may not declare it needs it to exist.
    pub async fn declare(&self) -> Result<(), Error> {
        match self {
            // It has its queues from the start.
            Self::InProcess(_) => Ok(()),
            Self::RabbitMq(broker) => broker.declare().await,
        }
    }

    /// How many messages of a queue wait to be delivered.
    pub async fn depth(&self, queue: &'static str) -> Result<u64, Error> {
        match self {
            Self::InProcess(broker) => broker.depth(queue),
            Self::RabbitMq(broker) => broker.depth(queue).await,
        }
    }
}

impl Publisher {
    /// Sends a message behind those that were sent before. Does not wait; the caller bounds how many
    /// are in flight.
    pub fn send(&mut self, route: impl Into<Route>, message: Message) {
        match self {
            Self::InProcess(publisher) => publisher.send(route.into(), message),
            Self::RabbitMq(publisher) => publisher.send(route.into(), message),
        }
    }

    /// Waits, for a bounded time, until the outcome of the oldest message in flight is known, and
    /// returns the outcomes of the oldest ones, in the order in which they were sent. Empty only if
    /// nothing is in flight. Cancelling the wait loses nothing.
    ///
    /// After any `Unknown` this publisher is done for: drop it and open another.
    pub async fn outcomes(&mut self) -> Vec<Outcome> {
        match self {
            Self::InProcess(publisher) => publisher.outcomes().await,
            Self::RabbitMq(publisher) => publisher.outcomes().await,
        }
    }

    /// Publishes `batch` while nothing else is in flight, and waits, for a bounded time, until every
    /// outcome is known: one per message, in their order.
    pub async fn publish(&mut self, route: impl Into<Route>, batch: Vec<Message>) -> Vec<Outcome> {
        let (route, count) = (route.into(), batch.len());
        if self.is_blocked() {
            return vec![Outcome::Refused; count];
        }
        for message in batch {
            self.send(route, message);
        }
        let mut outcomes = Vec::with_capacity(count);
        while outcomes.len() < count {
            outcomes.extend(self.outcomes().await);
        }
        outcomes
    }

    /// Whether there is a connection, as far as its heartbeats tell.
    pub fn is_connected(&self) -> bool {
        match self {
            Self::InProcess(_) => true,
            Self::RabbitMq(publisher) => publisher.is_connected(),
        }
    }

    /// Whether the broker takes nothing for now, because it runs out of memory or disk. Meanwhile
    /// `publish` refuses, and nothing should be sent.
    pub fn is_blocked(&self) -> bool {
        match self {
            Self::InProcess(_) => false,
            Self::RabbitMq(publisher) => publisher.is_blocked(),
        }
    }
}

impl Consumer {
    /// Waits for the next delivery. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> Result<Delivery, Error> {
        match self {
            Self::InProcess(consumer) => consumer.next().await,
            Self::RabbitMq(consumer) => consumer.next().await,
        }
    }
}

impl Delivery {
    /// Settles it: the broker forgets the message.
    ///
    /// # Errors
    /// When the connection has ended: the message will be delivered again.
    pub async fn ack(self) -> Result<(), Error> {
        match self.receipt {
            Receipt::InProcess(receipt) => receipt.ack(),
            Receipt::RabbitMq(receipt) => receipt.ack().await,
        }
    }

    /// Settles it as one that nobody can handle: the broker keeps it aside. `reason` is logged, and
    /// holds no data.
    ///
    /// # Errors
    /// When the connection has ended: the message will be delivered again.
    pub async fn dead_letter(self, reason: &str) -> Result<(), Error> {
        tracing::error!(
            message.id = self.message.id,
            message.kind = self.message.kind,
            attempt = self.attempt,
            "a message became a dead letter: {reason}"
        );
        match self.receipt {
            Receipt::InProcess(receipt) => receipt.dead_letter(self.message),
            Receipt::RabbitMq(receipt) => receipt.dead_letter().await,
        }
    }
}
