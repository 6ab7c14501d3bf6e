//! Takes the upsync messages. A message is acknowledged once its customer was looked at, whatever came
//! of it: what is still to be done stands in the database by then.

use std::time::Duration;

use entity::message::{Changed, UPSYNC};
use platform::backoff::Backoff;
use platform::broker::{Broker, Consumer, Delivery};
use platform::health::Component;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::patience::patiently;

/// Customers that are pushed side by side. More than the rate needs at Stripe's usual 200 ms a call.
pub const CONCURRENCY: usize = 32;

/// Unacknowledged messages that the broker hands out, a few for every hand.
const PREFETCH: u16 = 100;

const RECONNECT: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Consumes until it is told to stop; then it ends what it has begun.
pub async fn run(
    engine: Engine,
    broker: Broker,
    health: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut attempt = 0;
    while !stop.is_cancelled() {
        let consumer = tokio::select! {
            () = stop.cancelled() => break,
            consumer = broker.consumer(UPSYNC, PREFETCH) => consumer,
        };
        match consumer {
            Ok(consumer) => {
                attempt = 0;
                health.ok();
                consume(&engine, consumer, &health, &stop).await;
            }
            Err(error) => {
                attempt += 1;
                health.problem(format!("the broker is away, trying again: {error}"));
                let rest = RECONNECT.jittered(attempt);
                let _ = tokio::time::timeout(rest, stop.cancelled()).await;
            }
        }
    }
    Ok(())
}

/// Handles deliveries until the connection breaks or it is told to stop.
async fn consume(
    engine: &Engine,
    mut consumer: Consumer,
    health: &Component,
    stop: &CancellationToken,
) {
    let mut hands = JoinSet::new();
    while !stop.is_cancelled() {
        while hands.len() >= CONCURRENCY {
            hands.join_next().await;
        }
        let delivery = tokio::select! {
            () = stop.cancelled() => break,
            // A silent queue is healthy.
            () = tokio::time::sleep(Duration::from_secs(5)) => { report(engine, health); continue }
            () = engine.lane.running(), if engine.lane.stopped().is_some() => continue,
            delivery = consumer.next(), if engine.lane.stopped().is_none() => delivery,
        };
        match delivery {
            Ok(delivery) => {
                report(engine, health);
                hands.spawn(handle(
                    engine.clone(),
                    delivery,
                    (health.clone(), stop.clone()),
                ));
            }
            Err(error) => {
                health.problem(format!("the broker is away, trying again: {error}"));
                break;
            }
        }
    }
    while hands.join_next().await.is_some() {}
}

fn report(engine: &Engine, health: &Component) {
    match engine.lane.stopped() {
        Some(reason) => health.problem(reason),
        None => health.ok(),
    }
}

async fn handle(
    engine: Engine,
    delivery: Delivery,
    (health, stop): (Component, CancellationToken),
) {
    let Ok(changed) = serde_json::from_slice::<Changed>(&delivery.message.body) else {
        tracing::error!(
            message.id = %delivery.message.id,
            "an upsync message is not one of ours; it goes to the dead letters"
        );
        if let Err(error) = delivery.dead_letter("the body is no customer").await {
            tracing::warn!(%error, "giving a message to the dead letters");
        }
        return;
    };
    let work = || super::push(&engine, changed.id);
    let pushed = patiently("looking at a customer", (&health, &stop), work).await;
    // Dropped, it goes back to the broker.
    if pushed.is_some()
        && let Err(error) = delivery.ack().await
    {
        tracing::debug!(%error, "acknowledging a message; it will come again");
    }
}
