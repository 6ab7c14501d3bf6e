//! Declares the exchanges and queues. Declaring what is there already changes nothing; declaring it
//! otherwise is an error that a person has to solve, and the message says how.

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::connection::{Connection, Reason};
use super::{Error, Topology};

/// Deliveries of one message before it becomes a dead letter. RabbitMQ's own default since 4.0,
/// said so that older ones do it too.
const DELIVERY_LIMIT: i64 = 20;

/// The exchange to which our own queues are bound.
pub(super) fn internal(exchange: &str) -> String {
    format!("{exchange}.internal")
}

/// What is published to the internal exchange by the key of an event goes to the queues that receive
/// it and on to the public exchange; what is published to the public one goes to foreign queues only.
pub(super) async fn declare(
    topology: &Topology,
    connection: &Connection,
    channel: &Channel,
) -> Result<(), Error> {
    let exchange = topology.exchange;
    let internal = internal(exchange);
    let dead_exchange = format!("{exchange}.dead");
    for name in [exchange, &internal, &dead_exchange] {
        declare_exchange(connection, channel, name).await?;
    }
    for &(queue, events) in topology.queues {
        let dead_queue = format!("{queue}.dead");
        declare_queue(connection, channel, &dead_queue, dead_arguments()).await?;
        bind(connection, channel, [&dead_queue, &dead_exchange, queue]).await?;
        let arguments = arguments(&dead_exchange, queue);
        declare_queue(connection, channel, queue, arguments).await?;
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

async fn declare_exchange(
    connection: &Connection,
    channel: &Channel,
    name: &str,
) -> Result<(), Error> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default();
    let declaring = channel.exchange_declare(name.into(), ExchangeKind::Direct, durable, none);
    let declared = connection.step("declaring an exchange", declaring).await;
    declared.map_err(|error| explain(error, "exchange", name))
}

async fn declare_queue(
    connection: &Connection,
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), Error> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declaring = channel.queue_declare(name.into(), durable, arguments);
    let declared = connection.step("declaring a queue", declaring).await;
    declared
        .map(|_| ())
        .map_err(|error| explain(error, "queue", name))
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

/// Turns what the broker refuses, and a person has to mend, into a sentence that says how. Anything
/// else stays as it is.
pub(super) fn explain(error: Error, what: &str, name: &str) -> Error {
    let refusal = match &error {
        Error::Away { source, .. } => source.downcast_ref::<Reason>().and_then(refusal),
        _ => None,
    };
    let Some((code, text)) = refusal else {
        return error;
    };
    let advice = match (code, what) {
        (406, "queue") => format!(
            "it was declared with other properties; let it run empty, then delete it \
             (rabbitmqctl delete_queue {name}), and it is declared anew at the next attempt"
        ),
        (406, _) => format!(
            "it was declared with other properties; delete it (rabbitmqadmin delete exchange \
             name={name}), and it is declared anew at the next attempt"
        ),
        (404, _) => "it does not exist".to_owned(),
        (403, _) => "the user needs the permissions to configure, write and read it".to_owned(),
        _ => return error,
    };
    Error::Topology {
        what: format!("the {what} {name} can't be used: {advice} (RabbitMQ says: {text})"),
    }
}

/// The reply code and text of an error that the broker itself sent.
fn refusal(reason: &Reason) -> Option<(u16, String)> {
    match reason.0.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().to_string())),
        _ => None,
    }
}
