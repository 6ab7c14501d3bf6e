//! Brings the counts of the reads to the database, and says in time that a month will cost more than it may.
//!
//! Nothing is slowed down or stopped by it: what nobody reads is not kept in step, and nobody would notice.

use std::time::Duration;

use entity::stripe_read::{self, Forecast, Settings};
use metrics::gauge;
use platform::backoff::jitter;
use platform::database::within_bounds;
use platform::health::Component;
use platform::panic::caught;
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::downsync::state;
use crate::engine::Engine;

/// Seldom, because it is the only write of a poll that finds nothing. What was counted since is lost if the process is
/// killed.
const EVERY: Duration = Duration::from_secs(60);

/// Counts every minute, and once more when it is told to stop.
pub async fn run(engine: Engine, health: Component, stop: CancellationToken) -> anyhow::Result<()> {
    let mut said = Said::default();
    while !stop.is_cancelled() {
        match caught(run_once(&engine, &mut said)).await {
            Ok(_) => health.ok(),
            Err(error) => health.problem(format!("counting the reads of Stripe: {error}")),
        }
        let _ = tokio::time::timeout(jitter(EVERY), stop.cancelled()).await;
    }
    if let Err(error) = flush(&engine).await {
        tracing::warn!(%error, "the last reads of Stripe are not counted");
    }
    Ok(())
}

/// What was said of which month, so that it is said once, and again when the budget is overdrawn.
#[derive(Debug, Default)]
pub struct Said {
    month: String,
    projected: bool,
    overdrawn: bool,
}

impl Said {
    /// Whether this is news.
    fn is_news(&mut self, month: String, forecast: Forecast, budget: i64) -> bool {
        if self.month != month {
            *self = Self {
                month,
                ..Self::default()
            };
        }
        let is_overdrawn = forecast.used > budget;
        let said = if is_overdrawn {
            &mut self.overdrawn
        } else {
            &mut self.projected
        };
        !std::mem::replace(said, true)
    }
}

/// Brings the counts to the database and looks at the month as a whole; what it will come to.
///
/// # Errors
/// The database is away; what was counted is kept.
pub async fn run_once(engine: &Engine, said: &mut Said) -> Result<Forecast, DbErr> {
    flush(engine).await?;
    let now = engine.now(&engine.db).await?;
    let rows = within_bounds(stripe_read::of_month(&engine.db, now)).await?;
    let state = state::load(&engine.db, now).await?;
    let budget = engine.policy.read_budget;
    let forecast = stripe_read::forecast(&rows, &Settings::of(&state), now);
    gauge!("stripe_reads_month").set(forecast.used as f64);
    gauge!("stripe_reads_projected").set(forecast.projected as f64);
    if let Some(budget) = budget {
        gauge!("stripe_read_budget").set(budget as f64);
        if let Some(warning) = stripe_read::warning(forecast, Some(budget))
            && said.is_news(stripe_read::month(now), forecast, budget)
        {
            tracing::warn!("{warning}");
        }
    }
    Ok(forecast)
}

async fn flush(engine: &Engine) -> Result<(), DbErr> {
    let counts = engine.stripe.take_reads();
    if counts.is_empty() {
        return Ok(());
    }
    let adding = async {
        let tx = engine.begin().await?;
        let now = engine.now(&tx).await?;
        stripe_read::add(&tx, &counts, now).await?;
        tx.commit().await
    };
    let added = within_bounds(adding).await;
    if added.is_err() {
        engine.stripe.give_back_reads(&counts);
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_said_once_a_month() {
        let mut said = Said::default();
        let mut is_news = |month: &str, used| {
            let forecast = Forecast {
                used,
                projected: 2_000,
            };
            said.is_news(month.to_owned(), forecast, 1_000)
        };
        assert!(is_news("2026-11", 500));
        assert!(!is_news("2026-11", 900));
        assert!(is_news("2026-11", 1_001));
        assert!(!is_news("2026-11", 1_500));
        assert!(is_news("2026-12", 10));
        assert!(is_news("2026-12", 1_001));
    }
}
