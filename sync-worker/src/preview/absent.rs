//! Linked customers that Stripe's list did not show: which of them Stripe says are deleted, and whether those are few
//! enough to be believed.

use chrono::{DateTime, Utc};
use entity::parked::Reason;
use entity::{customer, stripe_link};
use platform::database::within_bounds;
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::group::Found;
use super::item::Step;
use super::listed::Sorted;
use super::look::Subject;
use super::{BATCH, see};
use crate::downsync::diff::is_drift;
use crate::downsync::inbox::read_again;
use crate::downsync::pass::HELD_AT_ONCE;
use crate::engine::Engine;

/// Looks at each; what is too many is shown as refused.
pub(super) async fn look(
    engine: &Engine,
    listed: &Sorted,
    started_at: DateTime<Utc>,
    found: &mut Vec<Found>,
) -> anyhow::Result<()> {
    let cap = engine.policy.delete_cap;
    let first = found.len();
    let (mut linked, mut after) = (0_u64, Uuid::nil());
    let mut absent = Vec::new();
    let now = engine.now(&engine.db).await?;
    loop {
        let links = within_bounds(linked_after(engine, after)).await?;
        let Some(last) = links.last() else { break };
        after = last.customer_id;
        linked += links.len() as u64;
        absent.extend(links.into_iter().filter(|link| {
            let linked_at = link.acked_at.unwrap_or(link.created_at);
            // One from a time that is still to come was stored before the clock was set back.
            let was_there = linked_at < started_at || linked_at > now;
            let id = link.stripe_id.as_deref();
            was_there && !id.is_some_and(|id| listed.contains(id))
        }));
    }
    let is_empty = listed.is_empty() && linked > 1;
    let is_refused = |deleted: u64| is_empty || cap.is_exceeded(deleted, linked);
    let mut deleted = 0_u64;
    for link in absent {
        let Some(drift) = read_again(engine, link.stripe_id.as_deref().unwrap_or_default()).await?
        else {
            continue;
        };
        deleted += u64::from(drift.copy.deleted);
        if is_drift(&drift.copy, Some((&link).into())) {
            let subject = Subject {
                drift: Some(&drift),
                customer_id: Some(link.customer_id),
            };
            let mut one = Found::new(link.stripe_id.as_deref(), Some(link.customer_id));
            let row = customer::find(&engine.db, link.customer_id);
            let row = within_bounds(row).await?;
            one.shares_email(row.as_ref().map(|row| row.email.as_str()));
            one.item = see(engine, subject).await?;
            found.push(one);
        }
        if is_refused(deleted) && deleted >= HELD_AT_ONCE as u64 {
            break;
        }
    }
    if is_refused(deleted) {
        found[first..].iter_mut().for_each(refuse);
    }
    Ok(())
}

fn refuse(found: &mut Found) {
    let Some(item) = &mut found.item else { return };
    if item.steps.iter().any(Step::is_deletion_brought_home) {
        found.is_refused = true;
        let reason = Reason::DeletionRefused;
        item.steps = vec![Step::Refuse {
            reason: reason.as_str().to_owned(),
            next_step: reason.next_step().to_owned(),
        }];
    }
}

/// The living customers that are linked and not known to be deleted.
async fn linked_after(engine: &Engine, after: Uuid) -> Result<Vec<stripe_link::Model>, DbErr> {
    let to_customer = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let reason = stripe_link::Column::ParkedReason;
    // Refused ones that a person has dismissed are to stay.
    let may_be_deleted = Condition::any()
        .add(reason.is_null())
        .add(reason.is_not_in([
            Reason::DeletedInStripe.as_str(),
            Reason::DeletionRefused.as_str(),
        ]))
        .add(
            Condition::all()
                .add(reason.eq(Reason::DeletionRefused.as_str()))
                .add(stripe_link::Column::ParkedDismissedAt.is_null()),
        );
    stripe_link::Entity::find()
        .join_rev(JoinType::InnerJoin, to_customer.into())
        .filter(stripe_link::Column::CustomerId.gt(after))
        .filter(stripe_link::Column::StripeId.is_not_null())
        .filter(stripe_link::Column::DetachedAt.is_null())
        .filter(customer::Column::DeletedAt.is_null())
        .filter(may_be_deleted)
        .order_by_asc(stripe_link::Column::CustomerId)
        .limit(BATCH)
        .all(&engine.db)
        .await
}
