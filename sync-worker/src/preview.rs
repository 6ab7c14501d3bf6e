//! What a full pass and the pushes would do now, customer by customer, with nothing written on either side; and
//! doing exactly that, item by item.
//!
//! [`read`] walks both sides and holds what differs, and 8 bytes for every customer in Stripe. While others
//! write, what it shows is of several moments; each item says what it was made of.

use std::collections::HashSet;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::message::{Drift, StripeCopy};
use entity::write;
use entity::{customer, stripe_link};
use platform::database::within_bounds;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::downsync::account::{self, Identity};
use crate::downsync::diff::is_drift;
use crate::downsync::inbox::read_again;
use crate::engine::Engine;
use crate::policy::Policy;
use crate::stripe::{Lane, ListPage};

use group::Found;
use listed::Listed;
use look::{Subject, look};

pub use carry_out::{Done, are_current, carry_out, carry_out_together, is_current};
pub use group::in_groups;
pub use item::{Change, Item, Side, Step, Together, Was};

mod absent;
mod carry_out;
mod group;
mod item;
mod listed;
mod look;
mod play;
mod steps;

const BATCH: u64 = 1_000;

/// Customers of Stripe's list between two lines in the log.
const TOLD_EVERY: u64 = 10_000;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The account and the mode of the key.
    pub key: Identity,
    /// [`policy_digest`] of the policy that decided.
    pub policy: String,
    /// The database's clock at the start.
    pub read_at: DateTime<Utc>,
    /// How many customers Stripe listed.
    pub listed: u64,
    /// What comes from Stripe first, then by customer, then by Stripe's id.
    pub items: Vec<Item>,
}

/// Reads both sides.
///
/// # Errors
/// Something is away, or the key is one of an account that the database does not belong to.
pub async fn read(engine: &Engine) -> anyhow::Result<Preview> {
    let key = key(engine).await?;
    let read_at = engine.now(&engine.db).await?;
    let mut found = Vec::new();
    let mut listed = Listed::default();
    let (mut after, mut newest) = (None, None);
    loop {
        let (drifts, last) = page(engine, &mut listed, (after, newest)).await?;
        newest = newest.or(drifts.first().map(|drift| drift.copy.created));
        look_at(engine, drifts, &mut found).await?;
        let Some(last) = last else { break };
        after = Some(last);
        if listed.count().is_multiple_of(TOLD_EVERY) {
            tracing::info!(customers = listed.count(), "read of Stripe's list so far");
        }
    }
    let count = listed.count();
    absent::look(engine, &listed.sorted(), read_at, &mut found).await?;
    waiting(engine, &mut found).await?;
    group::look_together(engine, &mut found).await?;
    let items = found.into_iter().filter_map(|one| one.item);
    let mut items: Vec<Item> = items.collect();
    items.sort_by_cached_key(order);
    Ok(Preview {
        key,
        policy: policy_digest(&engine.policy),
        read_at,
        listed: count,
        items,
    })
}

/// The account and the mode of the key, as far as they are known. Writes nothing.
///
/// # Errors
/// Another account or mode than the one that the database belongs to, or Stripe did not answer.
pub async fn key(engine: &Engine) -> anyhow::Result<Identity> {
    account::read_account(engine).await
}

/// Tells the settings that decide apart: 16 hex characters.
pub fn policy_digest(policy: &Policy) -> String {
    let Policy {
        on_database_delete,
        on_stripe_delete,
        owners,
        link_by_email,
        delete_cap,
        timeline_kept: _,
        slices_at_once: _,
        read_budget: _,
        publish_imports: _,
    } = policy;
    let text = format!(
        "{on_database_delete:?} {on_stripe_delete:?} {owners:?} {link_by_email:?} {delete_cap:?}"
    );
    hex::encode(&Sha256::digest(text)[..8])
}

fn order(item: &Item) -> (bool, Option<Uuid>, Option<String>) {
    let goes_out = item.steps.first().is_some_and(Step::is_pushed);
    (goes_out, item.customer_id, item.stripe_id.clone())
}

/// Reads a page; returns its customers, and the id that the next one starts after.
async fn page(
    engine: &Engine,
    listed: &mut Listed,
    (after, newest): (Option<String>, Option<i64>),
) -> anyhow::Result<(Vec<Drift>, Option<String>)> {
    let read_at = engine.moment(&engine.db).await?;
    let request = ListPage {
        starting_after: after,
        created_lte: newest,
        ..ListPage::default()
    };
    let page = engine
        .stripe
        .list(Lane::Downsync, &request)
        .await
        .context("reading a page of Stripe's customers")?
        .value;
    let last = page.items.last().map(|copy| copy.stripe_id.clone());
    if page.has_more && (last.is_none() || last == request.starting_after) {
        bail!("Stripe's list of customers repeats itself or is empty and says that there is more");
    }
    listed.extend(&page.items);
    let drift = |copy| Drift { copy, read_at };
    let drifts = page.items.into_iter().map(drift).collect();
    Ok((drifts, last.filter(|_| page.has_more)))
}

/// Looks at the customers that differ or wait to be pushed.
async fn look_at(
    engine: &Engine,
    drifts: Vec<Drift>,
    found: &mut Vec<Found>,
) -> anyhow::Result<()> {
    let ids = drifts.iter().map(|drift| drift.copy.stripe_id.as_str());
    let links = stripe_link::Entity::find()
        .filter(stripe_link::Column::StripeId.is_in(ids))
        .all(&engine.db);
    let links = within_bounds(links).await?;
    let rows = customer::Entity::find()
        .filter(customer::Column::Id.is_in(links.iter().map(|link| link.customer_id)))
        .all(&engine.db);
    let rows = within_bounds(rows).await?;
    let row_of = |link: &stripe_link::Model| rows.iter().find(|row| row.id == link.customer_id);
    let is_waiting =
        |link: &stripe_link::Model| row_of(link).is_some_and(|row| row.rev > link.synced_rev);
    for drift in drifts {
        let link = links.iter().find(|link| is_of(link, &drift.copy));
        if is_drift(&drift.copy, link.map(Into::into)) || link.is_some_and(is_waiting) {
            let customer_id = link.map(|link| link.customer_id);
            let subject = Subject {
                drift: Some(&drift),
                customer_id,
            };
            let mut one = Found::new(Some(&drift.copy.stripe_id), customer_id);
            one.shares_email(drift.copy.fields.email.as_deref());
            one.shares_email(link.and_then(row_of).map(|row| row.email.as_str()));
            one.shares_row(drift.copy.customer_id);
            one.item = see(engine, subject).await?;
            one.shares_row(one.item.as_ref().and_then(|item| item.customer_id));
            found.push(one);
        }
    }
    Ok(())
}

fn is_of(link: &stripe_link::Model, copy: &StripeCopy) -> bool {
    link.stripe_id.as_ref() == Some(&copy.stripe_id)
}

async fn see(engine: &Engine, subject: Subject<'_>) -> anyhow::Result<Option<Item>> {
    match look(engine, &[subject]).await {
        Err(write::Error::EmailTaken) => {
            bail!("a customer changes faster than it can be looked at; try again")
        }
        seen => Ok(seen
            .context("looking what becomes of a customer")?
            .into_iter()
            .flatten()
            .next()),
    }
}

/// Looks at the rows that wait to be pushed and that no copy of Stripe's led to. Those that Stripe did not list may be
/// known to it nevertheless.
async fn waiting(engine: &Engine, found: &mut Vec<Found>) -> anyhow::Result<()> {
    let items = found.iter().filter_map(|one| one.item.as_ref());
    let known: HashSet<Uuid> = items.filter_map(|item| item.customer_id).collect();
    let mut after = Uuid::nil();
    loop {
        let rows = within_bounds(waiting_after(engine, after)).await?;
        let Some((last, ..)) = rows.last() else {
            return Ok(());
        };
        after = *last;
        for (id, email, stripe_id) in rows.into_iter().filter(|(id, ..)| !known.contains(id)) {
            let drift = match stripe_id {
                Some(stripe_id) => read_again(engine, &stripe_id).await?,
                None => None,
            };
            let subject = Subject {
                drift: drift.as_ref(),
                customer_id: Some(id),
            };
            let mut one = Found::new(
                subject.drift.map(|drift| drift.copy.stripe_id.as_str()),
                Some(id),
            );
            one.shares_email(Some(&email));
            one.item = see(engine, subject).await?;
            found.push(one);
        }
    }
}

async fn waiting_after(
    engine: &Engine,
    after: Uuid,
) -> Result<Vec<(Uuid, String, Option<String>)>, DbErr> {
    let to_link = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let synced_rev = Expr::col((stripe_link::Entity, stripe_link::Column::SyncedRev));
    let rev = Expr::col((customer::Entity, customer::Column::Rev));
    customer::Entity::find()
        .select_only()
        .columns([customer::Column::Id, customer::Column::Email])
        .column(stripe_link::Column::StripeId)
        .join(JoinType::LeftJoin, to_link.into())
        .filter(customer::Column::Id.gt(after))
        .filter(synced_rev.clone().is_null().or(rev.gt(synced_rev)))
        .order_by_asc(customer::Column::Id)
        .limit(BATCH)
        .into_tuple()
        .all(&engine.db)
        .await
}
