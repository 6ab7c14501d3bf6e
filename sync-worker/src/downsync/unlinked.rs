//! A Stripe customer that no link names: one of ours whose answer was lost, one to link, or a new one.

use chrono::{DateTime, Utc};
use entity::email::Email;
use entity::message::{Drift, Moment, StripeCopy};
use entity::parked;
use entity::unmatched::{self, Reason};
use entity::{customer, stripe_link, write};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use super::duplicate;
use super::fence::{READ_AGAIN_AFTER, counts, put_aside};
use super::import::{self, Newcomer};
use crate::engine::Engine;
use crate::frozen::Frozen;
use crate::observe::base_of_ours;
use crate::observe::store::{Sight, observe};
use crate::policy::LinkByEmail;
use crate::review;

/// What says which row it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Metadata,
    Email,
    /// A person.
    Chosen,
}

/// Its row.
pub(super) enum Found {
    /// A new one.
    Imported,
    /// One that was there.
    Linked,
    /// One whose push is under way, or newer than the copy: it is read again later.
    PutAside,
    None(Reason),
    /// It wants none.
    Ignored,
}

/// Links it, or makes a row of it, or notes why it can have none.
///
/// # Errors
/// [`write::Error::EmailTaken`] if it was linked, or the row that matched has changed, meanwhile: roll back
/// and start again.
pub(super) async fn find_a_row(
    engine: &Engine,
    tx: &DatabaseTransaction,
    drift: &Drift,
    now: DateTime<Utc>,
) -> Result<Found, write::Error> {
    let copy = &drift.copy;
    if copy.deleted || copy.detached {
        unmatched::forget(tx, &copy.stripe_id).await?;
        return Ok(Found::Ignored);
    }
    if copy.unreadable {
        return no_row(tx, copy, (Reason::Unreadable, None), now).await;
    }
    if let Some(id) = chosen_row(tx, &copy.stripe_id).await? {
        let link = stripe_link::lock_or_create(tx, id, now).await?;
        return adopt(engine, tx, (&link, Match::Chosen), drift, now).await;
    }
    if let Some(id) = copy.customer_id
        && customer::find(tx, id).await?.is_some()
    {
        let link = stripe_link::lock_or_create(tx, id, now).await?;
        return adopt(engine, tx, (&link, Match::Metadata), drift, now).await;
    }
    if copy.is_redacted() {
        return no_row(tx, copy, (Reason::Redacted, None), now).await;
    }
    let Some(text) = &copy.fields.email else {
        return no_row(tx, copy, (Reason::NoEmail, None), now).await;
    };
    let Ok(email) = Email::parse(text) else {
        return no_row(tx, copy, (Reason::InvalidEmail, None), now).await;
    };
    if let Some(row) = customer::find_living_by_email_key(tx, email.key()).await? {
        let link = stripe_link::lock_or_create(tx, row.id, now).await?;
        return adopt(engine, tx, (&link, Match::Email), drift, now).await;
    }
    if let Some(id) = duplicate::deleted_owner(tx, drift, &email).await? {
        return no_row(tx, copy, (Reason::CustomerDeleted, Some(id)), now).await;
    }
    let newcomer = Newcomer { drift, email };
    let imported = import::insert(tx, &[newcomer], true, now).await?;
    if imported.is_empty() {
        return Err(write::Error::EmailTaken);
    }
    unmatched::forget(tx, &copy.stripe_id).await?;
    Ok(Found::Imported)
}

/// Whether the row may have been edited since the copy was read. A copy from a time that is still to come was read before
/// the clock was set back, so the times say nothing: then any edit that waits to be pushed may be a later one.
fn may_be_edited_since(
    row: &customer::Model,
    link: &stripe_link::Model,
    read_at: Moment,
    now: DateTime<Utc>,
) -> bool {
    row.updated_at >= read_at.at || (read_at.at > now && row.rev > link.synced_rev)
}

/// The living row that a person has chosen for it.
async fn chosen_row(tx: &DatabaseTransaction, stripe_id: &str) -> Result<Option<Uuid>, DbErr> {
    let entry = unmatched::Entity::find_by_id(stripe_id).one(tx).await?;
    let Some(id) = entry.and_then(|entry| entry.link_to) else {
        return Ok(None);
    };
    Ok(customer::find_living(tx, id).await?.map(|row| row.id))
}

/// Links a customer to the row that a person or its metadata names, or else the one that has its e-mail.
async fn adopt(
    engine: &Engine,
    tx: &DatabaseTransaction,
    (link, by): (&stripe_link::Model, Match),
    drift: &Drift,
    now: DateTime<Utc>,
) -> Result<Found, write::Error> {
    let copy = &drift.copy;
    let by_email = by == Match::Email;
    if link.stripe_id.as_ref() == Some(&copy.stripe_id) {
        // A push has linked it while we waited for the lock: start anew.
        return Err(write::Error::EmailTaken);
    }
    let reason = if by_email {
        Reason::EmailTaken
    } else {
        Reason::Duplicate
    };
    let beside = (reason, Some(link.customer_id));
    let is_substitute = link.awaits_substitute() && is_living(tx, link.customer_id).await?;
    if link.stripe_id.is_some() && !is_substitute {
        if link
            .observed_order
            .is_some_and(|order| drift.read_at.order <= order)
        {
            // It may be an old copy of the customer that was linked before.
            return read_later(tx, copy, beside, now).await;
        }
        return no_row(tx, copy, beside, now).await;
    }
    // A create in doubt looks for its own customer first, and then for one with the same e-mail.
    let is_in_doubt =
        by != Match::Metadata && link.stripe_id.is_none() && link.request_body.is_some();
    if is_in_doubt || !counts(link, drift.read_at, now) {
        if is_substitute {
            return read_later(tx, copy, beside, now).await;
        }
        put_aside(tx, link, now).await?;
        return Ok(Found::PutAside);
    }
    if by_email && engine.policy.link_by_email == LinkByEmail::Review {
        return no_row(tx, copy, (Reason::Review, Some(link.customer_id)), now).await;
    }
    let Some(row) = customer::lock(tx, link.customer_id).await? else {
        return Ok(Found::Ignored);
    };
    if by_email && !has_email_of(&row, copy) || is_substitute && row.is_deleted() {
        // It was given up while we waited for the lock: start anew.
        return Err(write::Error::EmailTaken);
    }
    if by_email && is_substitute && has_rival(tx, &row, copy).await? {
        return no_row(tx, copy, (Reason::Review, Some(row.id)), now).await;
    }
    // The two must have had the e-mail at the same time: an old copy may show one that the customer has
    // given up before the row got it. A row that was edited since finds its customer by its own push.
    if by_email && may_be_edited_since(&row, link, drift.read_at, now) {
        if is_substitute {
            return read_later(tx, copy, beside, now).await;
        }
        return Ok(Found::PutAside);
    }
    store_link(engine, tx, (&row, link), (drift, by), now).await
}

/// Links the row, under the locks, and merges the two.
async fn store_link(
    engine: &Engine,
    tx: &DatabaseTransaction,
    (row, link): (&customer::Model, &stripe_link::Model),
    (drift, by): (&Drift, Match),
    now: DateTime<Utc>,
) -> Result<Found, write::Error> {
    let copy = &drift.copy;
    let is_substitute = link.stripe_id.is_some();
    let mut adopted = link.clone().into_active_model();
    if is_substitute {
        adopted.start_anew();
    }
    adopted.stripe_id = Set(Some(copy.stripe_id.clone()));
    adopted.stripe_created = Set(Some(copy.created));
    if by == Match::Metadata {
        let in_doubt = Frozen::of(link).unwrap_or_default();
        adopted.pushed = Set(Some(copy.stamps.clone()));
        adopted.external_id = Set(copy.external_id.clone());
        adopted.base = Set(Some(base_of_ours(&in_doubt, copy)));
        // If a create was in doubt, this is what it made.
        adopted.end_request();
        adopted.attempts = Set(0);
    }
    if is_substitute || link.parked() == Some(parked::Reason::LinkReview) {
        adopted.unpark();
    }
    if row.is_deleted() {
        // What our tombstone had left behind is deleted, or let go of, by the push that this asks for.
        adopted.synced_rev = Set(link.synced_rev.min(row.rev - 1));
        adopted.next_attempt_at = Set(Some(now));
    }
    adopted.store(tx, now).await?;
    unmatched::forget(tx, &copy.stripe_id).await?;
    let link = stripe_link::lock_or_create(tx, link.customer_id, now).await?;
    let sight = Sight {
        copy,
        read_at: Some(drift.read_at),
        must_stamp: by != Match::Metadata,
    };
    observe(tx, &engine.policy, (row, &link), sight, now).await?;
    Ok(Found::Linked)
}

async fn is_living(tx: &DatabaseTransaction, id: Uuid) -> Result<bool, DbErr> {
    Ok(customer::find_living(tx, id).await?.is_some())
}

/// Whether yet another Stripe customer could take the place of the deleted one.
async fn has_rival(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    copy: &StripeCopy,
) -> Result<bool, DbErr> {
    let substitutes = unmatched::find_substitutes(tx, row).await?;
    Ok(substitutes
        .iter()
        .any(|other| other.stripe_id != copy.stripe_id))
}

/// Notes it, and has it read again soon: the copy is too old to be acted on.
async fn read_later(
    tx: &DatabaseTransaction,
    copy: &StripeCopy,
    why: (Reason, Option<Uuid>),
    now: DateTime<Utc>,
) -> Result<Found, write::Error> {
    no_row(tx, copy, why, now).await?;
    let ids = [copy.stripe_id.clone()];
    unmatched::reread(tx, &ids, now + READ_AGAIN_AFTER).await?;
    Ok(Found::PutAside)
}

/// Whether the row lives and has the copy's e-mail.
fn has_email_of(row: &customer::Model, copy: &StripeCopy) -> bool {
    let email = Email::parse(copy.fields.email.as_deref().unwrap_or_default());
    !row.is_deleted() && email.is_ok_and(|email| email.key() == row.email_key)
}

/// Notes a customer that cannot become a row; nothing is written if that is known already.
async fn no_row(
    tx: &DatabaseTransaction,
    copy: &StripeCopy,
    (reason, customer_id): (Reason, Option<Uuid>),
    now: DateTime<Utc>,
) -> Result<Found, write::Error> {
    let known = unmatched::Entity::find_by_id(&copy.stripe_id)
        .one(tx)
        .await?;
    let is_known = known.is_some_and(|known| {
        known.reason == reason
            && known.customer_id == customer_id
            && known.email == copy.fields.email
            && known.link_to.is_none()
    });
    if !is_known {
        let entry = unmatched::ActiveModel {
            stripe_id: Set(copy.stripe_id.clone()),
            reason: Set(reason),
            email: Set(copy.fields.email.clone()),
            customer_id: Set(customer_id),
            created_at: Set(now),
            dismissed_at: Set(None),
            recheck_at: Set(None),
            link_to: Set(None),
        };
        let latest = OnConflict::column(unmatched::Column::StripeId)
            .update_columns([
                unmatched::Column::Reason,
                unmatched::Column::Email,
                unmatched::Column::CustomerId,
                unmatched::Column::DismissedAt,
                unmatched::Column::LinkTo,
            ])
            .to_owned();
        unmatched::Entity::insert(entry)
            .on_conflict(latest)
            .exec_without_returning(tx)
            .await?;
        review::unmatched(&copy.stripe_id, reason);
    }
    Ok(Found::None(reason))
}
