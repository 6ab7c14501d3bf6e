//! The benchmark's ceiling: how fast lapin alone publishes persistent, mandatory messages with
//! their confirms, with no database and no relay. Prints messages per second.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

#[derive(Parser)]
struct Arguments {
    /// RabbitMQ, as amqp://user:password@host/vhost
    url: String,
    /// The quorum queue to fill; it is declared if need be, and keeps what it has
    queue: String,
    /// How many messages
    count: usize,
    /// Bytes of each body
    size: usize,
    /// How many confirms may be awaited at once
    window: usize,
}

const PERSISTENT: u8 = 2;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let connection = Connection::connect(&arguments.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    declare(&channel, &arguments.queue).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;

    let started = Instant::now();
    publish(&channel, &arguments).await?;
    let seconds = started.elapsed().as_secs_f64();

    connection.close(200, "done".into()).await?;
    let count = u32::try_from(arguments.count)?;
    writeln!(std::io::stdout(), "{:.0}", f64::from(count) / seconds)?;
    Ok(())
}

async fn declare(channel: &Channel, queue: &str) -> anyhow::Result<()> {
    let mut quorum = FieldTable::default();
    quorum.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.into(), durable, quorum).await?;
    Ok(())
}

/// Sends on as soon as the oldest confirm is in: never more than `window` are awaited, and never
/// fewer while there is more to send.
async fn publish(channel: &Channel, arguments: &Arguments) -> anyhow::Result<()> {
    let body = vec![b'x'; arguments.size];
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let mut awaited = VecDeque::with_capacity(arguments.window);
    for _ in 0..arguments.count {
        if awaited.len() >= arguments.window.max(1)
            && let Some(oldest) = awaited.pop_front()
        {
            check(oldest.await?)?;
        }
        let queue = arguments.queue.as_str().into();
        let sent = channel.basic_publish("".into(), queue, mandatory, &body, properties.clone());
        awaited.push_back(sent.await?);
    }
    for confirm in awaited {
        check(confirm.await?)?;
    }
    Ok(())
}

fn check(confirm: Confirmation) -> anyhow::Result<()> {
    ensure!(
        confirm == Confirmation::Ack(None),
        "the broker did not take a message"
    );
    Ok(())
}
