//! Stripe customers that share the e-mail of a row which is being deleted, on either side. They are recorded before the
//! deletion is carried over: afterwards they could not be told from a customer who signs up again.

use entity::email::Email;
use entity::message::{Drift, Moment, StripeCopy};
use entity::{customer, stripe_link, unmatched, write};
use platform::database::within_bounds;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, JoinType, QueryFilter,
    QuerySelect,
};
use uuid::Uuid;

use super::apply::apply_locally;
use crate::engine::Engine;
use crate::stripe::{Failure, Lane, ListPage};

/// Lists the Stripe customers with one of these e-mails. Stripe's filter is exact, so each is asked for as it is given, in
/// its normal form and, if its domain is internationalised, in the other form of that. One page each: a hundred customers
/// with one e-mail are beyond an automatic choice.
pub(crate) async fn list(
    engine: &Engine,
    lane: Lane,
    emails: impl IntoIterator<Item = &str>,
) -> Result<Vec<StripeCopy>, Failure> {
    let mut spellings: Vec<String> = Vec::new();
    for given in emails {
        let forms =
            Email::parse(given).map_or_else(|_| vec![given.to_owned()], |email| email.spellings());
        for form in forms {
            if !spellings.contains(&form) {
                spellings.push(form);
            }
        }
    }
    let mut copies: Vec<StripeCopy> = Vec::new();
    for email in spellings {
        let page = ListPage {
            email: Some(email),
            ..ListPage::default()
        };
        for copy in engine.stripe.list(lane, &page).await?.value.items {
            if copies.iter().all(|known| known.stripe_id != copy.stripe_id) {
                copies.push(copy);
            }
        }
    }
    Ok(copies)
}

/// Applies the copies that no link names, as of any other new customer: those that a row keeps from becoming one are
/// recorded as unmatched.
pub(crate) async fn record(
    engine: &Engine,
    copies: Vec<StripeCopy>,
    read_at: Moment,
) -> Result<(), write::Error> {
    for copy in copies {
        let link = stripe_link::find_by_stripe_id(&engine.db, &copy.stripe_id);
        if within_bounds(link).await?.is_none() {
            apply_locally(engine, &Drift { copy, read_at }).await?;
        }
    }
    Ok(())
}

/// The other Stripe customers with the e-mail of the row whose Stripe customer is deleted, if its deletion may be one of
/// the row.
pub(crate) async fn beside_deleted(
    engine: &Engine,
    drift: &Drift,
) -> Result<Result<Vec<StripeCopy>, Failure>, DbErr> {
    let link = stripe_link::find_by_stripe_id(&engine.db, &drift.copy.stripe_id);
    let link = within_bounds(link).await?;
    let Some(link) = link.filter(|link| drift.copy.deleted && link.detached_at.is_none()) else {
        return Ok(Ok(Vec::new()));
    };
    let row = within_bounds(customer::find(&engine.db, link.customer_id)).await?;
    // The deletion of a tombstone ends with this one, if it has not reached Stripe before.
    let is_open = |row: &customer::Model| !row.is_deleted() || row.rev > link.synced_rev;
    let Some(row) = row.filter(is_open) else {
        return Ok(Ok(Vec::new()));
    };
    let agreed = link.base_or_empty().email;
    let emails = [Some(row.email.as_str()), agreed.as_deref()];
    let listed = list(engine, Lane::Downsync, emails.into_iter().flatten()).await;
    Ok(listed.map(|mut copies| {
        copies.retain(|copy| copy.stripe_id != drift.copy.stripe_id);
        copies
    }))
}

/// The deleted row that keeps a Stripe customer with its e-mail from becoming a new one: the customer was recorded beside
/// that row, or read before the deletion had reached Stripe. No person has released it.
pub(super) async fn deleted_owner(
    tx: &DatabaseTransaction,
    drift: &Drift,
    email: &Email,
) -> Result<Option<Uuid>, DbErr> {
    let entry = unmatched::Entity::find_by_id(drift.copy.stripe_id.as_str());
    let entry = entry.one(tx).await?;
    let entry =
        entry.filter(|entry| entry.reason.is_by_email() && entry.has_email_key(email.key()));
    match entry {
        Some(entry) => match entry.customer_id {
            Some(id) => Ok(is_deleted(tx, id).await?.then_some(id)),
            None => Ok(None),
        },
        None => deletion_after(tx, email.key(), drift.read_at).await,
    }
}

/// A row that is forgotten was deleted.
async fn is_deleted(db: &impl ConnectionTrait, id: Uuid) -> Result<bool, DbErr> {
    Ok(customer::find_living(db, id).await?.is_none())
}

/// The row with this e-mail whose deletion had not reached Stripe when a copy was read.
async fn deletion_after(
    tx: &DatabaseTransaction,
    email_key: &str,
    read_at: Moment,
) -> Result<Option<Uuid>, DbErr> {
    let to_link = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let synced_rev = Expr::col((stripe_link::Entity, stripe_link::Column::SyncedRev));
    let rev = Expr::col((customer::Entity, customer::Column::Rev));
    let is_open = synced_rev.clone().is_null().or(rev.gt(synced_rev));
    let mut is_later = stripe_link::Column::AckedOrder.gt(read_at.order);
    if read_at.order == 0 {
        // Read by an older version: nothing says when.
        is_later = Expr::value(false);
    }
    customer::Entity::find()
        .select_only()
        .column(customer::Column::Id)
        .join(JoinType::LeftJoin, to_link.into())
        .filter(customer::Column::EmailKey.eq(email_key))
        .filter(customer::Column::DeletedAt.is_not_null())
        .filter(is_open.or(is_later))
        .into_tuple()
        .one(tx)
        .await
}
