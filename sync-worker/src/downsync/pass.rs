//! The full pass: every customer in Stripe is compared with its base. It finds what every faster path
//! has missed, and who is gone.
//!
//! Its ceiling is the newest customer on its first page. It costs a request for every page and one for every slice
//! that it is divided into, and its memory does not depend on how many customers there are.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::account;
use super::publish::Drifts;
use super::state;
use crate::engine::Engine;
use crate::upsync::missed;

pub(crate) use absence::HELD_AT_ONCE;
pub use absence::Refused;
use progress::Progress;
use read::Reading;

mod absence;
mod compare;
mod newcomers;
mod progress;
mod read;
pub(crate) mod seen;
mod shown;
mod slice;
mod walk;

/// What a pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    pub pages: u64,
    /// That it was divided into.
    pub slices: u64,
    pub customers: u64,
    /// Customers that said anything new.
    pub drifts: u64,
    /// Of those, new ones that became rows without a message.
    pub imported: u64,
    pub deletions: u64,
    /// Customers of ours that had not reached Stripe.
    pub missed: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.slices += other.slices;
        self.customers += other.customers;
        self.drifts += other.drifts;
        self.imported += other.imported;
        self.deletions += other.deletions;
        self.missed += other.missed;
    }
}

/// Runs one pass, or the rest of one that ended too early.
///
/// # Errors
/// Anything that leaves the pass incomplete: what it saw may have been sent home, but no absence is
/// inferred from it. The next one goes on at the slices that were not read, unless a day has passed.
pub async fn run_once(
    engine: &Engine,
    drifts: &mut Drifts,
    stop: &CancellationToken,
) -> anyhow::Result<Counts> {
    account::check_account(engine).await?;
    let progress = Progress::load_or_begin(engine).await?;
    // Those that wait for a push are looked for meanwhile, whatever becomes of the reading.
    let reading = Box::pin(read(engine, (drifts, stop), progress));
    let looking = Box::pin(missed::run_once(engine));
    let (read, missed) = match engine.steps.side_by_side(2) {
        1 => (reading.await, looking.await),
        _ => tokio::join!(reading, looking),
    };
    let progress = read?;
    let started_at = progress.started_at;
    let mut counts = progress.counts;
    let missing = absence::Missing {
        stripe_ids: progress.absent,
        nobody_was_seen: counts.customers == 0,
    };
    counts.deletions = absence::bring_home(engine, drifts, missing, started_at).await?;
    engine.steps.reach("pass: absence").await;
    counts.missed = missed?;
    engine.steps.reach("pass: complete").await;
    complete(engine, started_at, &counts).await?;
    Ok(counts)
}

/// Reads what is left to read.
async fn read(
    engine: &Engine,
    (drifts, stop): (&Drifts, &CancellationToken),
    progress: Progress,
) -> anyhow::Result<Progress> {
    let now = engine.now(&engine.db).await?;
    let before = progress.open.clone();
    let counted = (progress.counts.customers, progress.counts.pages);
    let _shown = engine.gauge.begin(counted, before.len());
    let reading = Reading::new(engine, (drifts.another(), stop), progress, now).await?;
    let reading = Arc::new(reading);
    let read = reading.run().await;
    let progress = reading.progress();
    if let Err(error) = read {
        if progress.open != before
            && let Err(error) = progress.store(engine, now).await
        {
            tracing::debug!(%error, "storing how far a pass has come");
        }
        return Err(error);
    }
    Ok(progress)
}

async fn complete(
    engine: &Engine,
    started_at: DateTime<Utc>,
    counts: &Counts,
) -> anyhow::Result<()> {
    let now = engine.now(&engine.db).await?;
    let json = serde_json::to_value(counts).context("spelling the counts of a pass")?;
    state::store(&engine.db, now, |state| {
        state.pass_started_at = Set(Some(started_at));
        state.pass_completed_at = Set(Some(now));
        state.pass_counts = Set(Some(json));
        state.pass_progress = Set(None);
        state.refused = Set(None);
    })
    .await?;
    Ok(())
}
