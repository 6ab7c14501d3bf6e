//! Takes the drift messages, some side by side: order does not matter, and PostgreSQL commits several together.

use std::slice;
use std::time::Duration;

use entity::message::{DOWNSYNC, Drift};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use platform::broker::{Broker, Consumer, Delivery};
use platform::health::Component;
use platform::panic::caught;
use sea_orm::DbBackend;
use tokio_util::sync::CancellationToken;

use super::apply::apply;
use super::ring::close_ring;
use crate::deliveries;
use crate::engine::Engine;
use crate::patience::patiently;
use crate::poison::Watch;

/// How often the health page hears of a silent queue.
const BEAT: Duration = Duration::from_secs(5);

/// Drifts that are applied side by side on PostgreSQL. SQLite has one writer.
const HANDS: usize = 8;

/// Consumes until it is told to stop; then it ends what it has begun.
pub async fn run(
    engine: Engine,
    broker: Broker,
    health: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let take = |consumer| consume(&engine, consumer, (&health, &stop));
    deliveries::run((&broker, DOWNSYNC), (&health, &stop), take).await
}

async fn consume(
    engine: &Engine,
    mut consumer: Consumer,
    (health, stop): (&Component, &CancellationToken),
) -> anyhow::Result<()> {
    let watch = Watch::of(engine, "drift").await?;
    let most = match engine.db.get_database_backend() {
        DbBackend::Postgres => HANDS,
        _ => 1,
    };
    let mut hands = FuturesUnordered::new();
    let mut ended = Ok(());
    while !stop.is_cancelled() && ended.is_ok() {
        let may_take = hands.len() < most;
        let delivery = tokio::select! {
            () = stop.cancelled() => break,
            // A silent queue is healthy.
            () = tokio::time::sleep(BEAT) => { health.ok(); continue }
            Some(handled) = hands.next() => { health.beat(); ended = handled; continue }
            delivery = consumer.next(), if may_take => delivery,
        };
        if delivery.is_ok() {
            health.ok();
        }
        match delivery {
            // If it is this one that ends the process, then it takes no other with it.
            Ok(delivery) if watch.is_careful() || delivery.attempt > 1 => {
                while let Some(handled) = hands.next().await {
                    ended = ended.and(handled);
                }
                let handled = caught(handle(engine, delivery, watch, (health, stop))).await;
                ended = ended.and(handled);
            }
            // One that panics goes back to the broker, and comes again with its attempts counted.
            Ok(delivery) => hands.push(caught(handle(engine, delivery, watch, (health, stop)))),
            Err(error) => ended = Err(error.into()),
        }
    }
    while let Some(handled) = hands.next().await {
        ended = ended.and(handled);
    }
    ended
}

/// Applies the drift of one message.
pub async fn handle(
    engine: &Engine,
    delivery: Delivery,
    watch: Watch<'_>,
    (health, stop): (&Component, &CancellationToken),
) -> anyhow::Result<()> {
    let Ok(drift) = serde_json::from_slice::<Drift>(&delivery.message.body) else {
        tracing::error!(
            message.id = %delivery.message.id,
            "a downsync message is not one of ours; it goes to the dead letters"
        );
        delivery.dead_letter("the body is no drift").await?;
        return Ok(());
    };
    let item = &drift.copy.stripe_id;
    let watch = watch.or_careful(delivery.attempt > 1);
    let begin = async || Ok(watch.begin(item).await?);
    match patiently("taking a drift in hand", (health, stop), begin).await {
        Some(true) => {}
        Some(false) => {
            let why = "its handling ends the process";
            delivery.dead_letter(why).await?;
            return Ok(());
        }
        None => return Ok(()),
    }
    engine.steps.reach("apply: lock").await;
    let work = || apply(engine, &drift);
    let applied = patiently("applying a drift", (health, stop), work).await;
    if let Some(applied) = applied {
        close_ring(engine, &drift, applied).await;
    }
    watch.end(slice::from_ref(item)).await;
    let Some(applied) = applied else {
        // Dropped, it goes back to the broker.
        return Ok(());
    };
    metrics::counter!("downsync_applied_total", "result" => applied.as_str()).increment(1);
    tracing::debug!(stripe.id = %drift.copy.stripe_id, ?applied, "applied a drift");
    engine.steps.reach("apply: ack").await;
    delivery.ack().await?;
    Ok(())
}
