//! The full pass: every customer in Stripe is compared with its base. It finds what every faster path
//! has missed, and who is gone.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::message::{Drift, StripeCopy};
use entity::stripe_link;
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::diff::is_drift;
use super::publish::Drifts;
use super::seen::Seen;
use super::{absence, state};
use crate::engine::Engine;
use crate::stripe::{Lane, ListPage};
use crate::upsync::missed;

/// What a pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub pages: u64,
    pub customers: u64,
    pub drifts: u64,
    pub deletions: u64,
    /// Customers of ours that had not reached Stripe.
    pub missed: u64,
}

/// Runs one pass.
///
/// # Errors
/// Anything that leaves the pass incomplete: what it saw may have been sent home, but no absence is
/// inferred from it.
pub async fn run_once(
    engine: &Engine,
    drifts: &mut Drifts,
    stop: &CancellationToken,
) -> anyhow::Result<Counts> {
    state::check_account(engine).await?;
    let started_at = engine.now(&engine.db).await?;
    let mut counts = Counts::default();
    let mut seen = Seen::default();
    let mut after = None;
    loop {
        if stop.is_cancelled() {
            bail!("stopped before the pass was complete");
        }
        let last = page(engine, drifts, (&mut seen, &mut counts), after).await?;
        after = match last {
            Some(last) => Some(last),
            None => break,
        };
    }
    counts.deletions = absence::bring_home(engine, drifts, &seen, started_at).await?;
    engine.steps.reach("pass: absence").await;
    counts.missed = missed::run_once(engine).await?;
    engine.steps.reach("pass: complete").await;
    complete(engine, started_at, &counts).await?;
    Ok(counts)
}

/// Compares one page; returns the id that the next one starts after.
async fn page(
    engine: &Engine,
    drifts: &mut Drifts,
    (seen, counts): (&mut Seen, &mut Counts),
    after: Option<String>,
) -> anyhow::Result<Option<String>> {
    let read_at = engine.now(&engine.db).await?;
    engine.steps.reach("pass: page").await;
    let request = ListPage {
        limit: 100,
        starting_after: after,
        ..ListPage::default()
    };
    let page = engine
        .stripe
        .list(Lane::Downsync, &request)
        .await
        .context("reading a page of Stripe's customers")?
        .value;
    engine.steps.reach("pass: read").await;
    let last = page.items.last().map(|copy| copy.stripe_id.clone());
    let mut fresh = Vec::with_capacity(page.items.len());
    for copy in page.items {
        if seen.insert(&copy.stripe_id) {
            fresh.push(copy);
        }
    }
    if page.has_more && fresh.is_empty() {
        bail!("Stripe's list of customers repeats itself or is empty and says that there is more");
    }
    counts.pages += 1;
    counts.customers += fresh.len() as u64;
    let found = differing(engine, fresh, read_at).await?;
    counts.drifts += found.len() as u64;
    drifts.send(&found, read_at).await?;
    Ok(last.filter(|_| page.has_more))
}

/// The customers of a page that say anything new, found by one query.
async fn differing(
    engine: &Engine,
    copies: Vec<StripeCopy>,
    read_at: DateTime<Utc>,
) -> anyhow::Result<Vec<Drift>> {
    let ids: Vec<&str> = copies.iter().map(|copy| copy.stripe_id.as_str()).collect();
    let links = stripe_link::Entity::find()
        .filter(stripe_link::Column::StripeId.is_in(ids))
        .all(&engine.db);
    let links = within_bounds(links).await?;
    Ok(copies
        .into_iter()
        .filter(|copy| {
            let link = links
                .iter()
                .find(|link| link.stripe_id.as_deref() == Some(&copy.stripe_id));
            is_drift(copy, link)
        })
        .map(|copy| Drift { copy, read_at })
        .collect())
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
        state.refused = Set(None);
    })
    .await?;
    Ok(())
}
