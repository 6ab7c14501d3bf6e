//! What waits in the outbox: as metrics, and in words for the health report.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use entity::outbox;
use metrics::gauge;
use platform::database::{Database, within_bounds};
use platform::{backoff, database};
use sea_orm::DbErr;

use crate::Relay;

/// The least time between two measurements.
const REST: Duration = Duration::from_secs(5);
/// Counting a long outbox takes its time: at most this part of it goes into that.
const SHARE: u32 = 50;

/// Measures for ever.
pub(crate) async fn watch(relay: &Relay) {
    loop {
        let started = Instant::now();
        // A failure is no news: the loop beside this one meets it, too, and says so.
        if let Err(error) = measure(relay).await {
            tracing::debug!("measuring the backlog: {error}");
        }
        tokio::time::sleep(backoff::jitter(REST.max(SHARE * started.elapsed()))).await;
    }
}

async fn measure(relay: &Relay) -> Result<(), DbErr> {
    let (rows, oldest) = within_bounds(outbox::backlog(&relay.db)).await?;
    let now = within_bounds(database::now(&relay.db, &relay.clock)).await?;
    gauge!("outbox_backlog_rows").set(rows as f64);
    gauge!("outbox_oldest_age_seconds").set(oldest.map_or(0.0, |oldest| age_seconds(oldest, now)));
    Ok(())
}

/// A row's time is the writer's clock, which may be ahead.
fn age_seconds(oldest: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    (now - oldest).as_seconds_f64().max(0.0)
}

/// What waits while the broker is away.
pub(crate) async fn sentence(db: &Database) -> Result<String, DbErr> {
    let (rows, oldest) = within_bounds(outbox::backlog(db)).await?;
    Ok(words(rows, oldest))
}

/// Only the order of magnitude: the sentence is logged whenever it changes, and the metric has the
/// number.
fn words(rows: u64, oldest: Option<DateTime<Utc>>) -> String {
    let Some(oldest) = oldest else {
        return "writes go on, no row waits yet".to_owned();
    };
    let since = oldest.to_rfc3339_opts(SecondsFormat::Secs, true);
    match 10_u64.pow(rows.max(1).ilog10()) {
        1 => format!("writes go on, fewer than 10 rows wait, since {since}"),
        floor => format!("writes go on, {floor} or more rows wait, since {since}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_changes_only_with_the_order_of_magnitude() {
        let oldest = Some(DateTime::UNIX_EPOCH);
        assert_eq!(words(0, None), "writes go on, no row waits yet");
        assert_eq!(words(1, oldest), words(9, oldest));
        assert_eq!(words(100, oldest), words(999, oldest));
        assert_ne!(words(9, oldest), words(10, oldest));
        assert_eq!(
            words(1500, oldest),
            "writes go on, 1000 or more rows wait, since 1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn a_row_from_a_fast_clock_has_no_negative_age() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(age_seconds(now + Duration::from_secs(3), now), 0.0);
        assert_eq!(age_seconds(now, now + Duration::from_secs(3)), 3.0);
    }
}
