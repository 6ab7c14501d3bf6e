//! Takes the upsync messages. A message is acknowledged once its customer was looked at, whatever came
//! of it: what is still to be done stands in the database by then.

use std::pin::pin;
use std::time::Duration;

use entity::message::{Changed, UPSYNC};
use platform::broker::{Broker, Consumer, Delivery};
use platform::health::{Component, Problem};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::deliveries;
use crate::engine::Engine;
use crate::lane::{code, words};
use crate::patience::patiently;

/// Customers that are pushed side by side. More than the rate needs at Stripe's usual 200 ms a call.
pub const CONCURRENCY: usize = 32;

/// How often the health page hears of a lane that is silent or stopped.
const BEAT: Duration = Duration::from_secs(5);

/// Consumes until it is told to stop; then it ends what it has begun.
pub async fn run(
    engine: Engine,
    broker: Broker,
    health: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let take = |consumer| consume(&engine, consumer, (&health, &stop));
    deliveries::run((&broker, UPSYNC), (&health, &stop), take).await
}

/// Handles deliveries until the connection breaks or it is told to stop.
async fn consume(
    engine: &Engine,
    mut consumer: Consumer,
    (health, stop): (&Component, &CancellationToken),
) -> anyhow::Result<()> {
    let mut hands = JoinSet::new();
    let mut ended = Ok(());
    while !stop.is_cancelled() {
        let changed = engine.lane.next_change();
        let mut changed = pin!(changed);
        report(engine, health);
        let is_full = hands.len() >= CONCURRENCY;
        let may_take = !is_full && engine.lane.stopped().is_none();
        let delivery = tokio::select! {
            () = stop.cancelled() => break,
            // A silent queue is healthy.
            () = tokio::time::sleep(BEAT) => {
                if may_take {
                    health.ok();
                }
                continue;
            }
            _ = hands.join_next(), if is_full => continue,
            () = &mut changed => continue,
            delivery = consumer.next(), if may_take => delivery,
        };
        match delivery {
            Ok(delivery) => {
                health.ok();
                let (health, stop) = (health.clone(), stop.clone());
                hands.spawn(handle(engine.clone(), delivery, (health, stop)));
            }
            Err(error) => {
                ended = Err(error.into());
                break;
            }
        }
    }
    while hands.join_next().await.is_some() {}
    ended
}

fn report(engine: &Engine, health: &Component) {
    health.beat();
    let breaker = health.cause("breaker");
    match engine.lane.problem() {
        Some(problem) => breaker.problem(problem),
        None if engine.lane.has_mismatch() => {
            breaker.problem(Problem::new(words::MISMATCH).code(code::RESPONSES_MISMATCHED));
        }
        None => breaker.solved(),
    }
}

/// Looks at the customer of one message.
pub async fn handle(
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
    // A message that came as the lane stopped waits as those in the queue do.
    tokio::select! {
        () = engine.lane.running() => {}
        () = stop.cancelled() => return,
    }
    let work = || super::push(&engine, changed.id);
    let pushed = patiently("looking at a customer", (&health, &stop), work).await;
    engine.steps.reach("upsync: ack").await;
    // Dropped, it goes back to the broker.
    if pushed.is_some()
        && let Err(error) = delivery.ack().await
    {
        tracing::debug!(%error, "acknowledging a message; it will come again");
    }
}
