//! A consumer of its own on the exchange, as another team would have one: a durable queue that gets every
//! change of a customer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use entity::message::{CHANGES, EXCHANGE, QUEUES};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use platform::broker::{Broker, Topology};
use platform::config::Secret;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::{State, lock};
use crate::load::state;

const QUEUE: &str = "chaos.tap";
const PREFETCH: u16 = 500;
const PATIENCE: Duration = Duration::from_secs(20);

/// What was received.
pub(crate) type Told = Arc<Mutex<Received>>;

#[derive(Default)]
pub(crate) struct Received {
    /// The changes of applications with their sources, in order.
    pub(crate) told: Vec<(Uuid, State)>,
    /// The source, customer and rev of every change, in order.
    pub(crate) heard: Vec<(Uuid, Uuid, i64)>,
}

/// Makes the queue, and those of the services. To be done before the first change, because it gets none of the
/// earlier ones.
pub(crate) async fn declare(url: &str) -> anyhow::Result<()> {
    let topology = Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    };
    let broker = Broker::rabbitmq(Secret::new(url), topology, "chaos");
    drop(Box::pin(broker.publisher()).await?);
    let (_connection, channel) = open(url).await?;
    Box::pin(declare_on(&channel)).await
}

/// Consumes until `stop`, through every outage of the broker.
pub(crate) async fn run(url: String, told: Told, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            // The broker is away, which is what this is about; its queue keeps what comes.
            _ended = Box::pin(consume(&url, &told)) => {}
        }
        sleep(Duration::from_millis(300)).await;
    }
}

async fn open(url: &str) -> anyhow::Result<(Connection, Channel)> {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection = timeout(PATIENCE, connecting)
        .await
        .context("connecting")??;
    let channel = timeout(PATIENCE, connection.create_channel()).await??;
    Ok((connection, channel))
}

async fn declare_on(channel: &Channel) -> anyhow::Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut quorum = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    quorum.insert("x-queue-type".into(), kind);
    // What a lost consumer had in hand comes back before anything newer only if no other one is served
    // meanwhile: whoever wants the order asks for this.
    quorum.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    channel.queue_declare(QUEUE.into(), durable, quorum).await?;
    for key in CHANGES {
        let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(QUEUE.into(), EXCHANGE.into(), key.into(), bind, none)
            .await?;
    }
    Ok(())
}

async fn consume(url: &str, told: &Told) -> anyhow::Result<()> {
    let (_connection, channel) = open(url).await?;
    let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
    timeout(PATIENCE, qos).await??;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consuming = channel.basic_consume(QUEUE.into(), "".into(), options, none);
    let mut deliveries = timeout(PATIENCE, consuming).await??;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let event: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
        let told_now = state(&event["data"]).context("a message of ours has a customer")?;
        let source = event["source"].as_str().unwrap_or_default();
        let source = source.parse().context("a message of ours has a source")?;
        let is_of_application = event["data"]["origin"] == "application";
        note(told, (source, told_now), is_of_application);
        let ack = delivery.acker.ack(BasicAckOptions::default());
        timeout(PATIENCE, ack).await??;
    }
    Ok(())
}

fn note(told: &Told, (source, state): (Uuid, State), is_of_application: bool) {
    let mut received = lock(told);
    received.heard.push((source, state.id, state.rev));
    if is_of_application {
        received.told.push((source, state));
    }
}

/// How many messages of a queue nobody has taken yet.
pub(crate) async fn depth(url: &str, queue: &str) -> anyhow::Result<u32> {
    let (_connection, channel) = open(url).await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let looking = channel.queue_declare(queue.into(), passive, FieldTable::default());
    Ok(timeout(PATIENCE, looking).await??.message_count())
}
