//! A customer of Stripe's without a row: read it again, link it to a row, or leave it.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QuerySelect};
use uuid::Uuid;

use super::Refused;
use crate::stripe_object::is_id;
use crate::unmatched::{ActiveModel, Entity, Model};
use crate::{customer, stripe_link};

/// Has it read again at once: it becomes a row if it can by now. Of a row that was deleted, it is released.
pub async fn retry(
    tx: &DatabaseTransaction,
    stripe_id: &str,
    now: DateTime<Utc>,
) -> Result<Model, Refused> {
    let mut entry = lock(tx, stripe_id).await?;
    // The deletion of its row keeps it from becoming a new one until now.
    if entry.reason.as_ref().is_by_email()
        && let Some(id) = entry.customer_id.as_ref()
        && customer::find_living(tx, *id).await?.is_none()
    {
        entry.customer_id = Set(None);
    }
    entry.recheck_at = Set(Some(now));
    entry.dismissed_at = Set(None);
    Ok(entry.update(tx).await?)
}

/// Takes it off the list of what is open, until something about it changes.
pub async fn dismiss(
    tx: &DatabaseTransaction,
    stripe_id: &str,
    now: DateTime<Utc>,
) -> Result<Model, Refused> {
    let mut entry = lock(tx, stripe_id).await?;
    if entry.dismissed_at.as_ref().is_none() {
        entry.dismissed_at = Set(Some(now));
    }
    entry.recheck_at = Set(None);
    entry.link_to = Set(None);
    Ok(entry.update(tx).await?)
}

/// Has it linked to a row that is not in Stripe, yet or any more: it is read again, and the two are merged as at a first meeting.
///
/// # Errors
/// There is no such row, or it is linked already.
pub async fn link(
    tx: &DatabaseTransaction,
    stripe_id: &str,
    customer_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Model, Refused> {
    // The link is locked before the entry, as the worker does.
    let link = stripe_link::lock(tx, customer_id).await?;
    let mut entry = lock(tx, stripe_id).await?;
    if customer::find_living(tx, customer_id).await?.is_none() {
        return Err(Refused::NoSuchCustomer);
    }
    if link.is_some_and(|link| link.stripe_id.is_some() && !link.awaits_substitute()) {
        return Err(Refused::Linked);
    }
    entry.link_to = Set(Some(customer_id));
    entry.recheck_at = Set(Some(now));
    entry.dismissed_at = Set(None);
    Ok(entry.update(tx).await?)
}

async fn lock(tx: &DatabaseTransaction, stripe_id: &str) -> Result<ActiveModel, Refused> {
    if !is_id(stripe_id) {
        return Err(Refused::NotFound);
    }
    let entry = Entity::find_by_id(stripe_id)
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(entry.ok_or(Refused::NotFound)?.into_active_model())
}
