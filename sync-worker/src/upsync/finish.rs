//! The end of a push: its outcome is written down under the link's lock, by the holder of its token
//! only. If the row has moved on meanwhile, the caller goes round again.

use chrono::{DateTime, Utc};
use entity::message::{Moment, StripeCopy};
use entity::parked::Reason;
use entity::stripe_link::{self, Parked};
use entity::timeline::{self, Detail, Step};
use entity::{customer, unmatched, write};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel};

use super::begin::Push;
use super::plan::is_blocked;
use super::pushed::{Pushed, count_saved};
use super::send::{Acked, Sent};
use crate::engine::Engine;
use crate::observe::store::{Observed, Sight, observe};
use crate::review;

use agreement::agreement;

mod agreement;
mod failed;

/// Writes the outcome.
///
/// # Errors
/// [`write::Error::EmailTaken`] if another row took an e-mail that Stripe showed meanwhile; the push
/// then stays begun and is repeated, with the same key, when it expires.
pub async fn finish(engine: &Engine, push: &Push, sent: Sent) -> Result<Pushed, write::Error> {
    let tx = engine.begin().await?;
    let Some(link) = stripe_link::lock(&tx, push.customer_id).await? else {
        return Ok(Pushed::Superseded);
    };
    if link.push_token != Some(push.token) {
        return Ok(Pushed::Superseded);
    }
    let moment = engine.moment(&tx).await?;
    let now = moment.at;
    let Some(row) = customer::lock(&tx, push.customer_id).await? else {
        return Ok(Pushed::Superseded);
    };
    let request_id = sent.request_id();
    let failure = sent.failure();
    let pushed = match sent {
        Sent::Failed(operation, failure) => {
            failed::record(engine, (&tx, &link, now), push, (operation, &failure)).await?
        }
        Sent::NeedsReview { stripe_id } => {
            engine.lane.answered(false);
            review(&tx, &link, push, stripe_id, now).await?;
            Pushed::Parked
        }
        Sent::Outdated { copy, read_at } | Sent::Gone { copy, read_at } => {
            engine.lane.answered(false);
            looked(engine, (&tx, &row, &link, now), push, (&copy, read_at)).await?
        }
        Sent::Acked(acked) => {
            engine.lane.succeeded();
            acknowledged(engine, (&tx, &row, &link, moment), push, acked).await?;
            Pushed::Done
        }
    };
    tell(&tx, push, pushed, (failure, request_id), now).await?;
    let pushed = look_again(&tx, push, pushed, now).await?;
    engine.steps.reach_commit("finish: commit").await;
    tx.commit().await?;
    Ok(pushed)
}

type Locked<'a> = (
    &'a DatabaseTransaction,
    &'a customer::Model,
    &'a stripe_link::Model,
    DateTime<Utc>,
);

/// The row may ask for more than was sent. The message about that may have come during this push and
/// found it under way; so the link itself asks, in case nobody goes round again.
async fn look_again(
    tx: &DatabaseTransaction,
    push: &Push,
    pushed: Pushed,
    now: DateTime<Utc>,
) -> Result<Pushed, DbErr> {
    if pushed == Pushed::Later {
        return Ok(pushed);
    }
    let link = locked_again(tx, push).await?;
    let row = customer::find(tx, push.customer_id).await?;
    let asks_for_more =
        row.is_some_and(|row| row.rev > link.synced_rev && !is_blocked(&link, row.rev));
    if !asks_for_more {
        return Ok(pushed);
    }
    if link.next_attempt_at.is_none() {
        let mut asking = link.into_active_model();
        asking.next_attempt_at = Set(Some(now));
        asking.store(tx, now).await?;
    }
    Ok(Pushed::Again)
}

/// Tells the timeline what came of a push, in codes. Of a failure that is tried again only as often as of its pushes.
async fn tell(
    tx: &DatabaseTransaction,
    push: &Push,
    pushed: Pushed,
    (failure, request_id): (Option<String>, Option<String>),
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    if pushed == Pushed::Later && !push.is_told {
        return Ok(());
    }
    let mut reason = failure;
    if pushed == Pushed::Parked {
        reason = locked_again(tx, push).await?.parked_reason;
    }
    let detail = Detail {
        kind: Some(push.request.kind().to_owned()),
        result: Some(pushed.as_str().to_owned()),
        reason,
        request_id,
        attempt: Some(push.attempt),
        ..Detail::default()
    };
    timeline::note(
        tx,
        (push.customer_id, Some(push.rev)),
        Step::Outcome,
        detail,
        now,
    )
    .await
}

/// The push came to nothing but a look at the customer, which is judged like any other copy.
async fn looked(
    engine: &Engine,
    (tx, row, link, now): Locked<'_>,
    push: &Push,
    (copy, read_at): (&StripeCopy, Moment),
) -> Result<Pushed, write::Error> {
    let mut ended = link.clone().into_active_model();
    ended.end_push();
    ended.set_observed(read_at);
    // Nothing was sent this time: what is in doubt is what was before.
    if copy.deleted || push.in_doubt.is_none() {
        ended.end_request();
    } else {
        ended.request_body = Set(push.in_doubt.clone());
        ended.give_up_key();
    }
    ended.store(tx, now).await?;
    let sight = Sight {
        copy,
        read_at: Some(read_at),
        must_stamp: false,
    };
    let link = stripe_link::lock_or_create(tx, link.customer_id, now).await?;
    let observed = observe(tx, &engine.policy, (row, &link), sight, now).await?;
    Ok(match observed {
        Observed::Parked => Pushed::Parked,
        _ => Pushed::Done,
    })
}

/// Stripe holds what was sent. The answer also shows what else it holds: that is an observation, and
/// judged like any other copy.
async fn acknowledged(
    engine: &Engine,
    (tx, row, link, moment): (
        &DatabaseTransaction,
        &customer::Model,
        &stripe_link::Model,
        Moment,
    ),
    push: &Push,
    acked: Acked,
) -> Result<(), write::Error> {
    let now = moment.at;
    let mut done = link.clone().into_active_model();
    done.end_push();
    done.end_request();
    done.unpark();
    done.attempts = Set(0);
    done.set_acked(moment);
    let is_adopted = matches!(&acked, Acked::Adopted { .. });
    let (agreed, shown) = agreement((row, link), push, acked);
    done.synced_rev = Set(link.synced_rev.max(agreed.rev));
    count_saved(agreed.rev - link.synced_rev - 1);
    if agreed.pushed.is_some() {
        done.pushed = Set(agreed.pushed);
    }
    if let Some(external_id) = agreed.external_id {
        done.external_id = Set(external_id);
    }
    if let Some(stripe_id) = agreed.stripe_id {
        if is_adopted {
            unmatched::forget(tx, &stripe_id).await?;
        }
        done.stripe_id = Set(Some(stripe_id));
        done.stripe_created = Set(shown.as_ref().map(|copy| copy.created));
    }
    if agreed.base.is_some() {
        done.base = Set(agreed.base);
    }
    if agreed.is_gone {
        done.expect_nothing();
    }
    if agreed.is_detached {
        done.detached_at = Set(Some(now));
    }
    if agreed.must_read_again {
        done.recheck_at = Set(Some(now));
    }
    done.store(tx, now).await?;
    let link = locked_again(tx, push).await?;
    if let Some(shown) = shown {
        let sight = Sight {
            copy: &shown,
            read_at: None,
            must_stamp: agreed.by_email,
        };
        observe(tx, &engine.policy, (row, &link), sight, now).await?;
    }
    Ok(())
}

async fn review(
    tx: &DatabaseTransaction,
    link: &stripe_link::Model,
    push: &Push,
    stripe_id: String,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let mut parked = link.clone().into_active_model();
    parked.end_push();
    parked.end_request();
    let reason = Parked {
        reason: Reason::LinkReview.as_str().to_owned(),
        detail: format!("{stripe_id} has the same e-mail; decide whether the two are one customer"),
        rev: push.rev,
        request_id: None,
        stripe_value: None,
    };
    review::park(&mut parked, push.customer_id, reason, now);
    parked.store(tx, now).await?;
    let entry = unmatched::ActiveModel {
        stripe_id: Set(stripe_id),
        reason: Set(unmatched::Reason::Review),
        email: Set(push.fields.email.clone()),
        customer_id: Set(Some(push.customer_id)),
        created_at: Set(now),
        ..Default::default()
    };
    unmatched::Entity::insert(entry)
        .on_conflict(
            OnConflict::column(unmatched::Column::StripeId)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

async fn locked_again(tx: &DatabaseTransaction, push: &Push) -> Result<stripe_link::Model, DbErr> {
    stripe_link::lock(tx, push.customer_id)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound(format!("stripe_link of {}", push.customer_id)))
}
