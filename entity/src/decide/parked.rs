//! A parked customer: try again, leave it, or let one side hold.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter,
};

use super::{Locked, Refused, Side};
use crate::email::Email;
use crate::fields::{Field, Fields};
use crate::parked::Reason;
use crate::stripe_object::REDACTED;
use crate::{conflict, customer, stripe_link, unmatched, write};

impl Locked {
    /// Why it is parked. An edit since then has un-parked it.
    fn parked(&self) -> Result<Reason, Refused> {
        let is_parked = self.link.parked_rev >= Some(self.row.rev);
        let reason = self.link.parked().filter(|_| is_parked);
        reason.ok_or(Refused::NotFound)
    }
}

/// Has it looked at again at once: the push is tried, or the copy that was no good is read again.
///
/// # Errors
/// It is not parked, or trying again would be a decision of its own.
pub async fn retry(
    tx: &DatabaseTransaction,
    locked: &Locked,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    let reason = locked.parked()?;
    let mut link = locked.link.clone().into_active_model();
    match reason {
        Reason::DeletionRefused => {
            return Err(Refused::NotPossible(
                "a retry would delete it here; resolve it with the side that is right",
            ));
        }
        // It stays what it is until the copy says otherwise.
        reason if reason.is_by_copy() || reason == Reason::DeletedInStripe => {
            link.recheck_at = Set(Some(now));
            link.parked_dismissed_at = Set(None);
        }
        _ => {
            link.unpark();
            link.attempts = Set(0);
            link.next_attempt_at = Set(Some(now));
        }
    }
    link.store(tx, now).await?;
    Ok(())
}

/// Takes it off the list of what is open, until it is parked anew. All stays as it is.
///
/// # Errors
/// It is not parked.
pub async fn dismiss(
    tx: &DatabaseTransaction,
    locked: &Locked,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    locked.parked()?;
    if locked.link.parked_dismissed_at.is_none() {
        let mut link = locked.link.clone().into_active_model();
        link.parked_dismissed_at = Set(Some(now));
        link.store(tx, now).await?;
    }
    Ok(())
}

/// Lets one side hold: ours is sent again, also over what Stripe has, or Stripe's is taken and nothing sent.
/// Returns the row as it is then.
///
/// # Errors
/// It is not parked, or the side has nothing that the other could take.
pub async fn resolve(
    tx: &DatabaseTransaction,
    locked: &Locked,
    side: Side,
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, Refused> {
    let reason = locked.parked()?;
    let mut link = locked.link.clone().into_active_model();
    link.unpark();
    link.attempts = Set(0);
    let row = match side {
        Side::Database => {
            if !locked.row.is_deleted() {
                make_room(tx, locked, reason, &mut link, now).await?;
            }
            write::resend(tx, &locked.row, now, traceparent).await?
        }
        Side::Stripe => take_stripes(tx, locked, reason, &mut link, (now, traceparent)).await?,
    };
    link.store(tx, now).await?;
    Ok(row)
}

/// Prepares the link, so that ours is sent whatever Stripe has.
async fn make_room(
    tx: &DatabaseTransaction,
    locked: &Locked,
    reason: Reason,
    link: &mut stripe_link::ActiveModel,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    match reason {
        // The one place where what was deleted in Stripe is created anew: a person has said so.
        Reason::DeletedInStripe | Reason::DeletionRefused | Reason::UnknownInStripe => {
            link.start_anew();
        }
        // Both sides now agree on what Stripe has, so ours is an edit.
        Reason::EmailRemovedInStripe | Reason::EmailInvalidInStripe | Reason::EmailTaken => {
            let mut base = locked.link.base_or_empty();
            base.email.clone_from(&locked.link.parked_stripe_value);
            link.base = Set(Some(base));
        }
        // What Stripe has is not known: all of ours is sent.
        Reason::UnreadableInStripe => link.base = Set(Some(Fields::default())),
        // Both sides now agree on what was removed, so ours is an edit.
        Reason::Redacted => {
            let mut base = Fields::default();
            for field in Field::ALL {
                base.set(field, Some(REDACTED.to_owned()));
            }
            link.base = Set(Some(base));
        }
        // Whoever has the same e-mail there is somebody else.
        Reason::LinkReview => {
            unmatched::Entity::update_many()
                .col_expr(unmatched::Column::DismissedAt, Expr::value(now))
                .filter(unmatched::Column::CustomerId.eq(locked.row.id))
                .filter(unmatched::Column::Reason.eq(unmatched::Reason::Review))
                .exec(tx)
                .await?;
        }
        Reason::Unfinished | Reason::Unsendable | Reason::Rejected => {}
    }
    Ok(())
}

async fn take_stripes(
    tx: &DatabaseTransaction,
    locked: &Locked,
    reason: Reason,
    link: &mut stripe_link::ActiveModel,
    (now, traceparent): (DateTime<Utc>, Option<String>),
) -> Result<customer::Model, Refused> {
    let Locked { row, link: known } = locked;
    if row.is_deleted() && reason == Reason::UnknownInStripe {
        // A person says that it is gone there.
        link.synced_rev = Set(row.rev);
        link.next_attempt_at = Set(None);
        link.end_request();
        link.expect_nothing();
        return Ok(row.clone());
    }
    if row.is_deleted() {
        return Err(Refused::NotPossible(
            "the customer is deleted here; resolve it with side database to send the deletion again",
        ));
    }
    match reason {
        Reason::DeletedInStripe => {
            let buried = write::delete(tx, row, now, traceparent).await?;
            // Stripe has deleted it already: nothing is left to send.
            link.synced_rev = Set(buried.rev);
            link.next_attempt_at = Set(None);
            link.end_request();
            link.expect_nothing();
            Ok(buried)
        }
        Reason::DeletionRefused => {
            // Stripe is asked once more; what it says then is done, as of any deletion.
            *link = known.clone().into_active_model();
            link.recheck_at = Set(Some(now));
            link.parked_dismissed_at = Set(None);
            Ok(row.clone())
        }
        Reason::EmailTaken => {
            let mut fields = row.fields();
            fields.email.clone_from(&known.parked_stripe_value);
            let mut base = known.base_or_empty();
            base.email.clone_from(&known.parked_stripe_value);
            link.base = Set(Some(base));
            take(tx, row, fields, (now, traceparent)).await
        }
        Reason::EmailRemovedInStripe | Reason::EmailInvalidInStripe => Err(Refused::NotPossible(
            "a customer here cannot have what Stripe has; correct the e-mail in Stripe, or resolve it with side database",
        )),
        Reason::UnreadableInStripe | Reason::Redacted => Err(Refused::NotPossible(
            "Stripe shows no value that could be taken; resolve it with side database, or delete the customer here",
        )),
        Reason::LinkReview => Err(Refused::NotPossible(
            "link the unmatched Stripe customer to this one instead; then its values are merged",
        )),
        Reason::UnknownInStripe => Err(Refused::NotPossible(
            "Stripe has no such customer, so there is nothing to take",
        )),
        Reason::Unfinished | Reason::Unsendable | Reason::Rejected => {
            let Some(base) = known.base.clone().filter(|_| known.stripe_id.is_some()) else {
                return Err(Refused::NotPossible(
                    "the customer is not in Stripe yet, so there is nothing to take; correct its values here",
                ));
            };
            let mut fields = base;
            fields.email = fields.email.or_else(|| Some(row.email.clone()));
            // What waits for a decision of its own stays.
            for open in conflict::held_of(tx, row.id).await? {
                if let Ok(field) = open.field.parse::<Field>() {
                    fields.set(field, row.fields().get(field).map(str::to_owned));
                }
            }
            take(tx, row, fields, (now, traceparent)).await
        }
    }
}

/// Gives the row Stripe's values. It is a change of ours, so that other readers of the outbox hear of it.
pub(super) async fn take(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    fields: Fields,
    (now, traceparent): (DateTime<Utc>, Option<String>),
) -> Result<customer::Model, Refused> {
    let email = Email::parse(fields.email.as_deref().unwrap_or_default()).map_err(|_| {
        Refused::NotPossible("a customer here cannot have the e-mail that Stripe has")
    })?;
    if row.fields() == fields {
        return Ok(write::resend(tx, row, now, traceparent).await?);
    }
    Ok(write::update(tx, row, (&email, &fields), now, traceparent).await?)
}

/// Accepts the deletions in Stripe that were refused for being too many, but for those that were dismissed. Each customer is read once more, and
/// what Stripe says then is done. Returns how many there are.
pub async fn accept_deletions(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64, DbErr> {
    let accepted = stripe_link::Entity::update_many()
        .col_expr(stripe_link::Column::RecheckAt, Expr::value(now))
        .filter(stripe_link::Column::ParkedReason.eq(Reason::DeletionRefused.as_str()))
        .filter(stripe_link::Column::ParkedDismissedAt.is_null())
        .exec(db)
        .await?;
    Ok(accepted.rows_affected)
}
