//! How far a pass has come: what it has counted, what is left to read, and who was missing so far.
//!
//! Stored from time to time, so that another process goes on at the slice where this one ended. What is stored
//! holds together: what is not left to read was read, what differed in it is with the broker, and who was missing
//! from it is in the list.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::Json;
use serde::{Deserialize, Serialize};

use super::Counts;
use super::slice::Slice;
use crate::downsync::state;
use crate::engine::Engine;

/// At most so often it is stored, so that a short pass writes only that it is complete.
const STORED_EVERY: chrono::Duration = chrono::Duration::seconds(10);
/// An older pass is not gone on with: too much of what it saw may have changed.
const GOES_STALE: chrono::Duration = chrono::Duration::days(1);
/// So many absent customers are remembered, in memory and in the row. One pass proves a thousand at most once it is
/// refused, so the rest can wait for the next one.
const MOST_ABSENT: usize = 100_000;

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// By the database's clock.
    pub(super) started_at: DateTime<Utc>,
    /// Of what is not left to read.
    pub(super) counts: Counts,
    /// What is left to read.
    pub(super) open: Vec<Slice>,
    /// Who was missing from what was read, by Stripe's id.
    pub(super) absent: Vec<String>,
}

impl Progress {
    pub(super) fn begin(now: DateTime<Utc>) -> Self {
        Self {
            started_at: now,
            counts: Counts {
                slices: 1,
                ..Counts::default()
            },
            open: vec![Slice::ALL],
            absent: Vec::new(),
        }
    }

    /// That of a pass which ended too early, if there is one to go on with.
    pub(super) async fn load_or_begin(engine: &Engine) -> anyhow::Result<Self> {
        let now = engine.now(&engine.db).await?;
        let stored = state::load(&engine.db, now).await?.pass_progress;
        let Some(progress) = stored.and_then(|stored| Self::read(stored, now)) else {
            return Ok(Self::begin(now));
        };
        tracing::info!(
            customers = progress.counts.customers,
            slices = progress.open.len(),
            started_at = %progress.started_at,
            "going on with the full pass where it ended"
        );
        Ok(progress)
    }

    /// A form that another version has stored is none of ours.
    fn read(stored: Json, now: DateTime<Utc>) -> Option<Self> {
        let progress: Self = serde_json::from_value(stored).ok()?;
        let age = now - progress.started_at;
        (age < GOES_STALE && age >= chrono::Duration::zero()).then_some(progress)
    }

    pub(super) fn add_absent(&mut self, absent: Vec<String>) {
        let room = MOST_ABSENT - self.absent.len().min(MOST_ABSENT);
        if absent.len() > room {
            tracing::warn!(
                customers = absent.len() - room,
                "more customers are missing from Stripe's list than one pass looks after; these wait for the next one"
            );
        }
        self.absent.extend(absent.into_iter().take(room));
    }

    pub(super) async fn store(&self, engine: &Engine, now: DateTime<Utc>) -> anyhow::Result<()> {
        let json = serde_json::to_value(self).context("spelling the progress of a pass")?;
        state::store(&engine.db, now, |state| {
            state.pass_progress = Set(Some(json));
        })
        .await?;
        Ok(())
    }
}

/// When the progress was last stored.
#[derive(Debug)]
pub(super) struct StoredAt(DateTime<Utc>);

impl StoredAt {
    /// A pass that begins has nothing to store yet.
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self(now)
    }

    /// Whether to store it now; then it counts as stored.
    pub(super) fn is_due(&mut self, now: DateTime<Utc>) -> bool {
        // A time that is still to come was noted before the clock was set back.
        let is_due = now - self.0 >= STORED_EVERY || now < self.0;
        if is_due {
            self.0 = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn progress_is_gone_on_with_for_a_day() {
        let mut progress = Progress::begin(at(0));
        progress.open = vec![Slice { from: 3, to: 9 }];
        progress.absent = vec!["cus_1".to_owned()];
        let stored = serde_json::to_value(&progress).unwrap();
        let read = |seconds| Progress::read(stored.clone(), at(seconds));
        assert_eq!(read(86_399), Some(progress));
        assert_eq!(read(86_400), None);
        // The clock was set back.
        assert_eq!(read(-1), None);
        assert_eq!(Progress::read(Json::Null, at(0)), None);
    }

    #[test]
    fn what_is_remembered_of_the_absent_is_bounded() {
        let mut progress = Progress::begin(at(0));
        for _ in 0..3 {
            progress.add_absent(vec!["cus_1".to_owned(); MOST_ABSENT / 2 + 1]);
        }
        assert_eq!(progress.absent.len(), MOST_ABSENT);
    }

    #[test]
    fn it_is_stored_every_ten_seconds() {
        let mut stored_at = StoredAt::new(at(0));
        let stored: Vec<i64> = (0..25).filter(|s| stored_at.is_due(at(*s))).collect();
        assert_eq!(stored, [10, 20]);
    }
}
