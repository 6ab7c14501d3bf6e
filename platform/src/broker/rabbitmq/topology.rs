//! Declares the exchanges and queues. Declaring what is there already changes nothing; declaring it
//! otherwise is an error that a person has to solve, and the message says how.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::connection::{Connection, Reason};
use super::{Error, Topology};

/// Deliveries of one message before it becomes a dead letter. RabbitMQ's own default since 4.0,
/// said so that older ones do it too.
const DELIVERY_LIMIT: i64 = 20;

pub(super) async fn declare(
    topology: &Topology,
    connection: &Connection,
    channel: &Channel,
) -> Result<(), Error> {
    let exchange = topology.exchange;
    let dead_exchange = format!("{exchange}.dead");
    for name in [exchange, &dead_exchange] {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declaring = channel.exchange_declare(
            name.into(),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        );
        let declared = connection.step("declaring an exchange", declaring).await;
        declared.map_err(|error| explain(error, "exchange", name))?;
    }
    for &queue in topology.queues {
        let dead_queue = format!("{queue}.dead");
        declare_queue(connection, channel, &dead_queue, dead_arguments()).await?;
        bind(connection, channel, [&dead_queue, &dead_exchange, queue]).await?;
        declare_queue(connection, channel, queue, arguments(&dead_exchange)).await?;
        bind(connection, channel, [queue, exchange, queue]).await?;
    }
    Ok(())
}

/// A replicated queue that hands what nobody could handle to the dead letters, and counts it as
/// gone only once they have it (<https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>).
/// At-least-once needs reject-publish.
fn arguments(dead_exchange: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    for (name, value) in [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", dead_exchange),
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
