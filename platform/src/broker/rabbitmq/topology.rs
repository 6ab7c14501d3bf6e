//! Puts the exchanges and queues in place. Declaring what is there already changes nothing; declaring it
//! otherwise is an error that a person has to solve, and the message says how.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::connection::Connection;
use super::refusal::{ACCESS_REFUSED, NOT_FOUND, code, explain, refusal};
use super::{Error, Topology};

/// Deliveries of one message before it becomes a dead letter. RabbitMQ's own default since 4.0,
/// said so that older ones do it too.
const DELIVERY_LIMIT: i64 = 20;

/// The exchange to which our own queues are bound.
pub(super) fn internal(exchange: &str) -> String {
    format!("{exchange}.internal")
}

fn dead(name: &str) -> String {
    format!("{name}.dead")
}

/// Declares every exchange and queue and binds them; returns the channel to use from then on.
///
/// A user without the permission to configure cannot declare, not even what exists. For such a user the existence of
/// the rest is checked instead. Declaring comes first, because only that compares the properties. Bindings cannot be
/// checked by AMQP, and making them takes the permissions to write and read.
pub(super) async fn ensure(topology: &Topology, connection: &Connection) -> Result<Channel, Error> {
    let mut channel = connection.channel().await?;
    let mut may_declare = true;
    for resource in resources(topology) {
        if may_declare {
            match resource.declare(connection, &channel, false).await {
                Err(error) if code(&error) == Some(ACCESS_REFUSED) => {
                    may_declare = false;
                    // The refusal closed the other one.
                    channel = connection.channel().await?;
                }
                declared => {
                    declared.map_err(|error| resource.explain(error))?;
                    continue;
                }
            }
        }
        let exists = resource.declare(connection, &channel, true).await;
        exists.map_err(|error| resource.explain_missing(error))?;
    }
    bind_all(topology, connection, &channel).await?;
    Ok(channel)
}

/// An exchange or a queue.
struct Resource {
    /// None for an exchange.
    arguments: Option<FieldTable>,
    name: String,
}

/// All of them; an exchange comes before the queues that name it.
fn resources(topology: &Topology) -> Vec<Resource> {
    let exchange = topology.exchange;
    let dead_exchange = dead(exchange);
    let exchanges = [exchange.to_owned(), internal(exchange), dead(exchange)];
    let queues = topology.queues.iter().flat_map(|&(queue, _)| {
        [
            Resource::queue(dead(queue), dead_arguments()),
            Resource::queue(queue.to_owned(), arguments(&dead_exchange, queue)),
        ]
    });
    exchanges
        .map(Resource::exchange)
        .into_iter()
        .chain(queues)
        .collect()
}

impl Resource {
    fn exchange(name: String) -> Self {
        let arguments = None;
        Self { arguments, name }
    }

    fn queue(name: String, arguments: FieldTable) -> Self {
        let arguments = Some(arguments);
        Self { arguments, name }
    }

    fn what(&self) -> &'static str {
        match self.arguments {
            Some(_) => "queue",
            None => "exchange",
        }
    }

    /// Passive: fails unless it exists, whatever its properties are, and needs no permission.
    async fn declare(
        &self,
        connection: &Connection,
        channel: &Channel,
        passive: bool,
    ) -> Result<(), Error> {
        let name = self.name.as_str().into();
        if let Some(arguments) = self.arguments.clone() {
            let options = QueueDeclareOptions {
                durable: true,
                passive,
                ..QueueDeclareOptions::default()
            };
            let declaring = channel.queue_declare(name, options, arguments);
            let declared = connection.step("declaring a queue", declaring).await;
            return declared.map(|_| ());
        }
        let options = ExchangeDeclareOptions {
            durable: true,
            passive,
            ..ExchangeDeclareOptions::default()
        };
        let none = FieldTable::default();
        let declaring = channel.exchange_declare(name, ExchangeKind::Direct, options, none);
        connection.step("declaring an exchange", declaring).await
    }

    fn explain(&self, error: Error) -> Error {
        explain(error, self.what(), &self.name)
    }

    /// As [`explain`], for a user who may not declare it.
    fn explain_missing(&self, error: Error) -> Error {
        let Some((NOT_FOUND, text)) = refusal(&error) else {
            return self.explain(error);
        };
        let (what, name) = (self.what(), &self.name);
        Error::Topology {
            what: format!(
                "the {what} {name} does not exist, and the user of AMQP_URL may not declare it: run `outbox-relay \
                 declare` with a user who may, see docs/permissions.md (RabbitMQ says: {text})"
            ),
        }
    }
}

/// What is published to the internal exchange by the key of an event goes to the queues that receive
/// it and on to the public exchange; what is published to the public one goes to foreign queues only.
async fn bind_all(
    topology: &Topology,
    connection: &Connection,
    channel: &Channel,
) -> Result<(), Error> {
    let exchange = topology.exchange;
    let (internal, dead_exchange) = (internal(exchange), dead(exchange));
    for &(queue, events) in topology.queues {
        bind(connection, channel, [&dead(queue), &dead_exchange, queue]).await?;
        bind(connection, channel, [queue, &internal, queue]).await?;
        for key in events {
            bind(connection, channel, [queue, &internal, key]).await?;
            forward(connection, channel, [exchange, &internal, key]).await?;
        }
    }
    Ok(())
}

/// A replicated queue that hands what nobody could handle to the dead letters, and counts it as
/// gone only once they have it (<https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>).
/// At-least-once needs reject-publish.
fn arguments(dead_exchange: &str, queue: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", dead_exchange),
        ("x-dead-letter-routing-key", queue),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(DELIVERY_LIMIT),
    );
    arguments
}

fn dead_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    // A look at a dead letter that puts it back must never make it vanish, as the default of 4.0
    // would after 20 looks.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(1_000_000));
    arguments
}

/// How many messages of a queue are ready.
pub(super) async fn depth(
    connection: &Connection,
    channel: &Channel,
    queue: &str,
) -> Result<u64, Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let asking = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let asked = connection
        .step("asking for the depth of a queue", asking)
        .await;
    let queue = asked.map_err(|error| explain(error, "queue", queue))?;
    Ok(queue.message_count().into())
}

async fn bind(
    connection: &Connection,
    channel: &Channel,
    [queue, exchange, key]: [&str; 3],
) -> Result<(), Error> {
    let binding = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    let bound = connection.step("binding a queue", binding).await;
    bound.map_err(|error| explain(error, "queue", queue))
}

async fn forward(
    connection: &Connection,
    channel: &Channel,
    [to, from, key]: [&str; 3],
) -> Result<(), Error> {
    let binding = channel.exchange_bind(
        to.into(),
        from.into(),
        key.into(),
        ExchangeBindOptions::default(),
        FieldTable::default(),
    );
    let bound = connection.step("binding an exchange", binding).await;
    bound.map_err(|error| explain(error, "exchange", to))
}
