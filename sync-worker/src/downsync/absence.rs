//! Customers that a complete pass did not see. Absence proves nothing: lists omit customers of a test
//! clock, and all of them with another account's key. Only `deleted: true`, customer by customer, does.

use anyhow::bail;
use chrono::{DateTime, Utc};
use entity::{customer, stripe_link};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::inbox::read_again;
use super::publish::Drifts;
use super::seen::Seen;
use super::state;
use crate::engine::Engine;
use crate::observe::Park;

const BATCH: u64 = 1_000;

/// Proves the deletions among the customers that were not seen, and sends them home if they are few
/// enough to be believed. Returns how many there were.
///
/// # Errors
/// Too many at once, or an empty list: the whole set is refused, and a person has to look.
pub async fn bring_home(
    engine: &Engine,
    drifts: &mut Drifts,
    seen: &Seen,
    pass_started_at: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let (linked, absent) = absent(engine, seen, pass_started_at).await?;
    if seen.is_empty() && linked > 1 {
        let text = format!(
            "Stripe lists no customer at all, and {linked} are linked: nothing is deleted; \
             check STRIPE_SECRET_KEY and STRIPE_API_BASE"
        );
        return refuse(engine, text).await;
    }
    let mut deleted = Vec::new();
    for stripe_id in absent {
        if let Some(drift) = read_again(engine, &stripe_id).await?
            && drift.copy.deleted
        {
            deleted.push(drift);
        }
        let count = deleted.len() as u64;
        let cap = engine.policy.delete_cap;
        if cap.is_exceeded(count, linked) {
            let text = format!(
                "Stripe says that more than {count} of {linked} linked customers are deleted: none is \
                 deleted here; raise MAX_DELETES ({}) and MAX_DELETE_PERCENT ({}) if that is right",
                cap.count, cap.percent
            );
            return refuse(engine, text).await;
        }
    }
    let now = engine.now(&engine.db).await?;
    drifts.send(&deleted, now).await?;
    Ok(deleted.len() as u64)
}

/// How many living customers are linked, and which of them the pass should have seen and did not.
async fn absent(
    engine: &Engine,
    seen: &Seen,
    pass_started_at: DateTime<Utc>,
) -> anyhow::Result<(u64, Vec<String>)> {
    let mut linked = 0;
    let mut absent = Vec::new();
    let mut after = Uuid::nil();
    loop {
        let links = within_bounds(linked_after(engine, after)).await?;
        let Some(last) = links.last() else {
            return Ok((linked, absent));
        };
        after = last.customer_id;
        linked += links.len() as u64;
        for link in links {
            let was_there = link.acked_at.unwrap_or(link.created_at) < pass_started_at;
            match link.stripe_id {
                Some(stripe_id) if was_there && !seen.contains(&stripe_id) => {
                    absent.push(stripe_id);
                }
                _ => {}
            }
        }
    }
}

async fn linked_after(engine: &Engine, after: Uuid) -> anyhow::Result<Vec<stripe_link::Model>> {
    let customer = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let parked_reason = stripe_link::Column::ParkedReason;
    let not_known_to_be_deleted = Condition::any()
        .add(parked_reason.is_null())
        .add(parked_reason.ne(Park::DeletedInStripe.reason()));
    let links = stripe_link::Entity::find()
        .join_rev(JoinType::InnerJoin, customer.into())
        .filter(stripe_link::Column::CustomerId.gt(after))
        .filter(stripe_link::Column::StripeId.is_not_null())
        .filter(stripe_link::Column::DetachedAt.is_null())
        .filter(not_known_to_be_deleted)
        .filter(customer::Column::DeletedAt.is_null())
        .order_by_asc(stripe_link::Column::CustomerId)
        .limit(BATCH)
        .all(&engine.db)
        .await?;
    Ok(links)
}

async fn refuse(engine: &Engine, text: String) -> anyhow::Result<u64> {
    let now = engine.now(&engine.db).await?;
    state::store(&engine.db, now, |state| {
        state.refused = Set(Some(text.clone()));
    })
    .await?;
    bail!(text)
}
