//! Finds changes whose messages the broker has lost: dropped by a policy (max-length with drop-head, message-ttl), or
//! with a queue that was purged or deleted. One worker at a time looks once a minute, by a lease; two sums say whether
//! there is anything to look for.

use std::time::{Duration, Instant};

use entity::message::UPSYNC;
use platform::backoff::jitter;
use platform::broker::Broker;
use platform::database::within_bounds;
use platform::health::Component;
use platform::lease::Lease;
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use super::missed;
use crate::engine::Engine;

const LEASE: &str = "upsync-sweep";
const LEASE_TTL: Duration = Duration::from_secs(60);
/// How often the lease is renewed, or asked for.
const TICK: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(60);
/// At most this part of the time goes into sweeps, should they be slow.
const SHARE: u32 = 50;
/// How long a message may be under way behind others; see [`missed::GRACE`] for one before which there is none.
const GRACE_IN_BACKLOG: chrono::Duration = chrono::Duration::minutes(15);
/// How long the health report shows lost messages.
const REPORTED_FOR: Duration = Duration::from_secs(900);

/// What one sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// Every change is in Stripe, or on its way.
    Nothing,
    /// So many changes had no message any more. They are pushed now.
    Lost(u64),
    /// So many changes were published long ago, and the queue has a backlog. They are pushed now; their messages may
    /// still come.
    Late(u64),
}

/// Sweeps until it is told to stop.
pub async fn run(
    engine: Engine,
    broker: Broker,
    health: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let lease = Lease::new(LEASE, LEASE_TTL);
    let (mut report, mut sweep_at, mut holds) = (Report::default(), Instant::now(), None);
    while !stop.is_cancelled() {
        match within_bounds(lease.acquire(&engine.db, &engine.clock)).await {
            Ok(Some(held)) => {
                holds = Some(held);
                sweep_if_due(&engine, &broker, (&mut report, &mut sweep_at), &health).await;
            }
            Ok(None) => {
                (holds, sweep_at) = (None, Instant::now());
                health.idle();
            }
            Err(error) => health.problem(format!("asking for the lease of the sweep: {error}")),
        }
        let _ = tokio::time::timeout(jitter(TICK), stop.cancelled()).await;
    }
    if let Some(held) = holds {
        engine.release(&lease, &held).await;
    }
    Ok(())
}

async fn sweep_if_due(
    engine: &Engine,
    broker: &Broker,
    (report, sweep_at): (&mut Report, &mut Instant),
    health: &Component,
) {
    let started = Instant::now();
    if started < *sweep_at {
        return report.show(health);
    }
    match run_once(engine, broker).await {
        Ok(swept) => {
            report.add(swept);
            report.show(health);
        }
        Err(error) => health.problem(format!("looking for lost messages: {error:#}")),
    }
    *sweep_at = started + INTERVAL.max(SHARE * started.elapsed());
}

/// Looks once.
///
/// # Errors
/// The database or the broker is away.
pub async fn run_once(engine: &Engine, broker: &Broker) -> anyhow::Result<Swept> {
    // While pushes stand still, messages wait in the workers' hands.
    let is_stopped = engine.lane.stopped().is_some();
    if is_stopped || !within_bounds(missed::is_anybody_behind(engine)).await? {
        return Ok(Swept::Nothing);
    }
    let has_backlog = broker.depth(UPSYNC).await? > 0;
    let found = sweep(engine, has_backlog).await?;
    if found == 0 {
        return Ok(Swept::Nothing);
    }
    if has_backlog {
        return Ok(Swept::Late(found));
    }
    metrics::counter!("upsync_lost_messages_total").increment(found);
    tracing::warn!(
        customers = found,
        "messages were lost in the broker; their changes are pushed now"
    );
    Ok(Swept::Lost(found))
}

async fn sweep(engine: &Engine, has_backlog: bool) -> Result<u64, DbErr> {
    let grace = match has_backlog {
        true => GRACE_IN_BACKLOG,
        false => missed::GRACE,
    };
    missed::run(engine, grace).await
}

/// What was lost of late.
#[derive(Default)]
struct Report {
    last: Option<tokio::time::Instant>,
    lost: u64,
}

impl Report {
    fn add(&mut self, swept: Swept) {
        let is_over = self.last.is_none_or(|last| last.elapsed() > REPORTED_FOR);
        if is_over {
            *self = Self::default();
        }
        if let Swept::Lost(lost) = swept {
            self.last = Some(tokio::time::Instant::now());
            self.lost += lost;
        }
    }

    fn show(&self, health: &Component) {
        if self.lost == 0 {
            return health.ok();
        }
        health.problem(format!(
            "{} messages were lost in the broker, and their changes were pushed without them: check the policies of the \
             queue {UPSYNC} for max-length and message-ttl (rabbitmqctl list_policies, list_queues name messages \
             policy), and who deletes or purges it",
            self.lost
        ));
    }
}

#[cfg(test)]
mod tests {
    use platform::health::Health;

    use super::*;

    fn reported(report: &Report) -> Option<String> {
        let health = Health::new();
        report.show(&health.component("upsync-sweep", Duration::from_secs(600)));
        let report = health.report(Instant::now());
        report
            .components
            .into_iter()
            .next()
            .and_then(|component| component.detail)
    }

    #[tokio::test(start_paused = true)]
    async fn lost_messages_are_reported_for_a_while() {
        let mut report = Report::default();
        report.add(Swept::Late(7));
        assert_eq!(reported(&report), None);
        report.add(Swept::Lost(2));
        tokio::time::advance(INTERVAL).await;
        report.add(Swept::Lost(1));
        let text = reported(&report).unwrap();
        assert!(text.starts_with("3 messages were lost"), "{text}");
        assert!(
            text.contains("message-ttl") && text.contains(UPSYNC),
            "{text}"
        );
        tokio::time::advance(REPORTED_FOR + INTERVAL).await;
        report.add(Swept::Nothing);
        assert_eq!(reported(&report), None);
    }
}
