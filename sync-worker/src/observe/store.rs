//! Stores what was judged of a copy: row, link and conflicts, under the caller's locks.

use chrono::{DateTime, Utc};
use entity::customer;
use entity::email::Email;
use entity::fields::{Field, Fields};
use entity::merge::{Clash, Owner};
use entity::message::{Moment, StripeCopy};
use entity::stripe_link::Parked;
use entity::timeline::{self, Detail, Step};
use entity::{conflict, stripe_link, unmatched, write};
use platform::telemetry;
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use super::{Known, Merge, Verdict, is_parked_by_copy, judge, parked_at};
use crate::policy::Policy;
use crate::review;

const HAS_SUBSTITUTE: &str =
    "the customer was deleted in Stripe, where another one has the same e-mail";

/// What an observation led to; counted and shown in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Both sides agreed already.
    Nothing,
    /// The row took something from Stripe.
    Taken,
    /// Only the link moved: both sides had come to the same values, or ours is to be pushed.
    Agreed,
    /// The row was made a tombstone, or the link was cut.
    Deleted,
    Parked,
}

/// A copy, its time of reading, and whether it was read for its own sake.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    pub copy: &'a StripeCopy,
    /// The moment before the copy was read; none for the answer to a push, which the fence
    /// of `acked_order` covers.
    pub read_at: Option<Moment>,
    /// See [`Known::must_stamp`].
    pub must_stamp: bool,
}

/// Judges a copy that has passed the fence and stores the result.
///
/// # Errors
/// [`write::Error::EmailTaken`] if another row took the e-mail meanwhile: roll back and start again.
pub async fn observe(
    tx: &DatabaseTransaction,
    policy: &Policy,
    (row, link): (&customer::Model, &stripe_link::Model),
    sight: Sight<'_>,
    now: DateTime<Utc>,
) -> Result<Observed, write::Error> {
    let fields = row.fields();
    let open = conflict::held_of(tx, row.id).await?;
    let substitutes = substitutes(tx, row, sight.copy).await?;
    let known = Known {
        row: &fields,
        is_deleted: row.is_deleted(),
        rev: row.rev,
        link,
        open: &open,
        email_is_taken: email_is_taken(tx, row.id, &sight.copy.fields).await?,
        has_substitute: !substitutes.is_empty(),
        must_stamp: sight.must_stamp || link.base.is_none() || row.external_id != link.external_id,
    };
    let verdict = judge(known, sight.copy, &policy.owners, policy.on_stripe_delete);
    let mut change = link.clone().into_active_model();
    if let Some(read_at) = sight.read_at
        && (verdict != Verdict::Nothing || link.recheck_at.is_some())
    {
        change.set_observed(read_at);
        change.recheck_at = Set(None);
    }
    let detail = detail((row, link), &verdict);
    let (observed, rev) = match verdict {
        Verdict::Nothing => {
            change.store(tx, now).await?;
            return Ok(Observed::Nothing);
        }
        Verdict::Settle => {
            settle(&mut change, link, row.rev);
            (Observed::Agreed, row.rev)
        }
        Verdict::Detach => {
            change.detached_at = Set(Some(now));
            settle(&mut change, link, row.rev);
            (Observed::Deleted, row.rev)
        }
        Verdict::Bury => {
            let buried = write::bury(tx, row, now, Some(telemetry::traceparent())).await?;
            settle(&mut change, link, buried.rev);
            change.expect_nothing();
            (Observed::Deleted, buried.rev)
        }
        Verdict::Park(park) => {
            let mut parked = parked_at(park, row.rev, sight.copy);
            ask_substitutes(tx, &mut parked, &substitutes, now).await?;
            review::park(&mut change, row.id, parked, now);
            (Observed::Parked, row.rev)
        }
        Verdict::Merge(merge) => {
            let rev = take(tx, (row, &open), &merge, now).await?;
            note(&mut change, link, (&merge, rev, sight.copy), now);
            match merge.park {
                Some(_) => (Observed::Parked, rev),
                None if rev > row.rev => (Observed::Taken, rev),
                None => (Observed::Agreed, rev),
            }
        }
    };
    change.store(tx, now).await?;
    let detail = Detail {
        result: Some(observed.as_str().to_owned()),
        ..detail
    };
    timeline::note(tx, (row.id, Some(rev)), Step::Apply, detail, now).await?;
    Ok(observed)
}

impl Observed {
    /// The word for it in metrics and timelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Taken => "taken",
            Self::Agreed => "agreed",
            Self::Deleted => "deleted",
            Self::Parked => "parked",
        }
    }
}

/// The Stripe customers that could take the place of a deleted one.
async fn substitutes(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    copy: &StripeCopy,
) -> Result<Vec<String>, DbErr> {
    if !copy.deleted || row.is_deleted() {
        return Ok(Vec::new());
    }
    let found = unmatched::find_substitutes(tx, row).await?;
    Ok(found.into_iter().map(|one| one.stripe_id).collect())
}

/// Has the substitutes read again: one is linked in the place of the deleted customer, if it is the only one.
async fn ask_substitutes(
    tx: &DatabaseTransaction,
    parked: &mut Parked,
    substitutes: &[String],
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    if substitutes.is_empty() {
        return Ok(());
    }
    parked.detail = HAS_SUBSTITUTE.to_owned();
    unmatched::reread(tx, substitutes, now).await
}

/// What the timeline tells of a verdict: the fields of the row that change, or else those that are agreed on anew.
fn detail((row, link): (&customer::Model, &stripe_link::Model), verdict: &Verdict) -> Detail {
    let mut detail = Detail::default();
    match verdict {
        Verdict::Park(reason) => detail.reason = Some(reason.as_str().to_owned()),
        Verdict::Merge(merge) => {
            detail.reason = merge.park.map(|reason| reason.as_str().to_owned());
            let mut fields = row.fields().differing(&merge.row);
            if fields.is_empty() {
                fields = link.base_or_empty().differing(&merge.base);
            }
            detail.fields = fields.into_iter().map(Into::into).collect();
        }
        Verdict::Nothing | Verdict::Settle | Verdict::Detach | Verdict::Bury => {}
    }
    detail
}

/// Nothing is left to do about a customer that is gone.
fn settle(change: &mut stripe_link::ActiveModel, link: &stripe_link::Model, rev: i64) {
    change.synced_rev = Set(rev);
    change.next_attempt_at = Set(None);
    if link.parked_reason.is_some() {
        change.unpark();
    }
    change.end_request();
    change.attempts = Set(0);
}

/// Gives the row what the merge took from Stripe; returns its rev.
async fn take(
    tx: &DatabaseTransaction,
    (row, open): (&customer::Model, &[conflict::Model]),
    merge: &Merge,
    now: DateTime<Utc>,
) -> Result<i64, write::Error> {
    update_conflicts(tx, open, merge, now).await?;
    record_clashes(tx, (row, open), &merge.clashes, now).await?;
    if merge.row == row.fields() {
        return Ok(row.rev);
    }
    // The judge lets no e-mail through that does not parse.
    let email = Email::parse(merge.row.email.as_deref().unwrap_or_default())
        .expect("a merged row keeps an e-mail that a row may have");
    let traceparent = Some(telemetry::traceparent());
    let taken = write::take(tx, row, (&email, &merge.row), now, traceparent).await?;
    Ok(taken.rev)
}

/// Notes the new agreement in the link.
fn note(
    change: &mut stripe_link::ActiveModel,
    link: &stripe_link::Model,
    (merge, rev, copy): (&Merge, i64, &StripeCopy),
    now: DateTime<Utc>,
) {
    change.base = Set(Some(merge.base.clone()));
    change.pushed = Set(merge.pushed.clone());
    if merge.ends_doubt {
        change.end_request();
        change.attempts = Set(0);
    }
    match merge.park {
        Some(park) => {
            review::park(change, link.customer_id, parked_at(park, rev, copy), now);
        }
        None if link.parked_reason.is_some() && (merge.is_settled || is_parked_by_copy(link)) => {
            change.unpark();
        }
        None => {}
    }
    if merge.is_settled {
        change.synced_rev = Set(rev);
        change.next_attempt_at = Set(None);
    } else {
        // There may be no message for it (the row may not have changed at all): the link itself asks.
        change.synced_rev = Set(link.synced_rev.min(rev - 1));
        change.next_attempt_at = Set(link.next_attempt_at.or(Some(now)));
    }
}

/// The fields of a customer that wait for a person's decision.
pub async fn held_fields(tx: &DatabaseTransaction, customer_id: Uuid) -> Result<Vec<Field>, DbErr> {
    let open = conflict::held_of(tx, customer_id).await?;
    Ok(open
        .iter()
        .filter_map(|conflict| conflict.field.parse().ok())
        .collect())
}

/// Whether another living row has the e-mail.
pub(crate) async fn email_is_taken(
    tx: &DatabaseTransaction,
    customer_id: Uuid,
    fields: &Fields,
) -> Result<bool, DbErr> {
    let Some(email) = fields
        .email
        .as_deref()
        .and_then(|text| Email::parse(text).ok())
    else {
        return Ok(false);
    };
    let owner = customer::find_living_by_email_key(tx, email.key()).await?;
    Ok(owner.is_some_and(|owner| owner.id != customer_id))
}

/// Brings the open conflicts up to date, and ends those whose field clashes no more, or by now has an
/// owner.
async fn update_conflicts(
    tx: &DatabaseTransaction,
    open: &[conflict::Model],
    merge: &Merge,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    for known in open {
        let clash = merge
            .clashes
            .iter()
            .find(|clash| known.field == clash.field.as_str());
        let winner = match clash {
            Some(clash) => winner(clash),
            None if is_ours(known, merge) => conflict::Winner::Database,
            None => conflict::Winner::Stripe,
        };
        let mut latest = known.clone().into_active_model();
        if let Some(clash) = clash {
            if known.database_value != clash.database || known.stripe_value != clash.stripe {
                latest.dismissed_at = Set(None);
            }
            latest.database_value = Set(clash.database.clone());
            latest.stripe_value = Set(clash.stripe.clone());
        }
        if winner != conflict::Winner::Open {
            latest.winner = Set(winner);
            latest.resolved_at = Set(Some(now));
        }
        latest.update(tx).await?;
    }
    Ok(())
}

/// Whether both sides hold the value that was ours.
fn is_ours(known: &conflict::Model, merge: &Merge) -> bool {
    let field = known.field.parse::<Field>();
    field.is_ok_and(|field| merge.row.get(field) == known.database_value.as_deref())
}

fn winner(clash: &Clash) -> conflict::Winner {
    match clash.winner {
        Owner::Database => conflict::Winner::Database,
        Owner::Stripe => conflict::Winner::Stripe,
        Owner::Manual => conflict::Winner::Open,
    }
}

/// Records the clashes that no open conflict stands for.
async fn record_clashes(
    tx: &DatabaseTransaction,
    (row, open): (&customer::Model, &[conflict::Model]),
    clashes: &[Clash],
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    for clash in clashes {
        let field = clash.field.as_str();
        if open.iter().any(|known| known.field == field) {
            continue;
        }
        let winner = winner(clash);
        let record = conflict::ActiveModel {
            id: Set(Uuid::now_v7()),
            customer_id: Set(row.id),
            rev: Set(Some(row.rev)),
            field: Set(field.to_owned()),
            base: Set(clash.base.clone()),
            database_value: Set(clash.database.clone()),
            stripe_value: Set(clash.stripe.clone()),
            winner: Set(winner),
            created_at: Set(now),
            resolved_at: Set((winner != conflict::Winner::Open).then_some(now)),
            ..Default::default()
        };
        conflict::Entity::insert(record)
            .exec_without_returning(tx)
            .await?;
        review::conflict(row.id, field, winner);
    }
    Ok(())
}
