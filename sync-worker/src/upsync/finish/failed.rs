//! What is written down when Stripe did not take a push: by the outcome table, try again later, give
//! up this key, wait for a person, or stop the lane.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::parked::Reason;
use entity::stripe_link::{self, Parked};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, DbErr, IntoActiveModel};

use crate::engine::{Engine, LONGEST_REST, RETRY};
use crate::lane::{self, Trouble, words};
use crate::outcome::{Action, Operation, action};
use crate::review;
use crate::stripe::{Failure, FailureKind};
use crate::upsync::begin::{Push, Request};
use crate::upsync::pushed::Pushed;

/// After a 500 Stripe may still carry the request out. So long it is left alone, then looked up.
const GRACE: Duration = Duration::from_secs(10);

/// Records a failed push under the link's lock. What is the lane's trouble costs this customer nothing: no
/// attempt is counted and nothing is parked.
pub(super) async fn record(
    engine: &Engine,
    (tx, link, now): (&DatabaseTransaction, &stripe_link::Model, DateTime<Utc>),
    push: &Push,
    (operation, failure): (Operation, &Failure),
) -> Result<Pushed, DbErr> {
    let action = action(operation, failure);
    let is_lanes = tell_lane(engine, push, (&action, failure), now);
    let attempts = link.attempts.saturating_add(i32::from(!is_lanes));
    metrics::counter!("upsync_failures_total", "action" => action.as_str()).increment(1);
    log(push, (operation, failure), &action, (attempts, is_lanes));
    let mut ended = link.clone().into_active_model();
    ended.end_push();
    // Only a look-up failed: this attempt has sent nothing.
    let was_sent = operation != Operation::Read;
    if !was_sent {
        go_back(&mut ended, push);
    }
    ended.attempts = Set(attempts);
    // A failure of the lane's is due when the lane goes on.
    let rest = RETRY.jittered(if is_lanes { 1 } else { attempts.unsigned_abs() });
    let (rest, parked) = match action {
        Action::Retry => (rest.max(failure.retry_after.unwrap_or_default()), None),
        // Not this customer's fault: no attempt is counted.
        Action::SlowDown { retry_after } => {
            ended.attempts = Set(0);
            (rest.max(retry_after.unwrap_or_default()), None)
        }
        Action::LookUp { .. } => {
            ended.give_up_key();
            (rest.max(GRACE), None)
        }
        Action::StopLane { reason } => {
            let code = lane::code::of_setting(reason);
            engine
                .lane
                .stop_for(code, words::lane_is_stopped(reason, failure));
            // The key stays: an earlier request under it may be on its way still. Should the refusal be saved
            // under it, then its replay gives it up.
            ended.attempts = Set(0);
            (lane::REST, None)
        }
        Action::Park { reason } => {
            match operation {
                Operation::Read => {}
                // This request is not in doubt any more, but an earlier one is.
                Operation::Update if push.in_doubt.is_some() => ended.give_up_key(),
                _ => ended.end_request(),
            }
            (lane::REST, Some(reason))
        }
        // `send` has asked for the customer already, and Stripe knows nothing of it.
        Action::Gone => {
            ended.end_request();
            (lane::REST, Some(Reason::UnknownInStripe.as_str()))
        }
    };
    let pushed = match parked.filter(|_| !is_lanes) {
        Some(reason) => {
            ended.attempts = Set(0);
            let parked = self::parked(reason, push, failure);
            review::park(&mut ended, push.customer_id, parked, now);
            Pushed::Parked
        }
        None => {
            let rest = chrono::Duration::from_std(rest).unwrap_or(LONGEST_REST);
            ended.next_attempt_at = Set(Some(now + rest.min(LONGEST_REST)));
            Pushed::Later
        }
    };
    ended.store(tx, now).await?;
    Ok(pushed)
}

/// A push that is repeated. A parked customer and an open breaker have lines of their own.
fn log(
    push: &Push,
    (operation, failure): (Operation, &Failure),
    action: &Action,
    (attempt, is_lanes): (i32, bool),
) {
    let is_logged_elsewhere = is_lanes
        || matches!(
            action,
            Action::StopLane { .. } | Action::Park { .. } | Action::Gone
        );
    let (id, rev, action) = (push.customer_id, push.rev, action.as_str());
    if is_logged_elsewhere {
        tracing::debug!(customer.id = %id, rev, attempt, ?operation, action, %failure, "Stripe did not accept a push");
    } else {
        tracing::warn!(customer.id = %id, rev, attempt, ?operation, action, %failure, "Stripe did not accept a push");
    }
}

/// Nothing was sent: what is in doubt is what was before, and for an update the look is still to be taken.
fn go_back(ended: &mut stripe_link::ActiveModel, push: &Push) {
    if push.in_doubt.is_none() {
        ended.end_request();
    } else if let Request::Update { body, .. } = &push.request
        && push.in_doubt.as_ref() != Some(body)
    {
        ended.request_body = Set(push.in_doubt.clone());
        ended.give_up_key();
    }
}

/// Lets the lane know of the failure; returns whether it is the lane's trouble.
fn tell_lane(
    engine: &Engine,
    push: &Push,
    (action, failure): (&Action, &Failure),
    now: DateTime<Utc>,
) -> bool {
    let trouble = Trouble::of(action, failure);
    if failure.kind == FailureKind::Answered && trouble != Some(Trouble::Away) {
        let refuses_key = matches!(action, Action::StopLane { .. });
        engine.lane.answered(refuses_key);
    }
    trouble.is_some_and(|trouble| {
        let reason = match trouble {
            Trouble::Away => words::is_away(now, failure),
            Trouble::Refused { .. } => words::refuses_everyone(failure),
            Trouble::Mismatched => words::answers_others(failure),
        };
        engine.lane.failed(push.customer_id, trouble, || reason)
    })
}

fn parked(reason: &'static str, push: &Push, failure: &Failure) -> Parked {
    // Stripe names the value at fault better than we can: `email_invalid` rather than `rejected`.
    let reason = match failure.code.as_deref() {
        // For a customer that is not there ours says more than Stripe's `resource_missing`.
        Some(code) if reason != Reason::UnknownInStripe.as_str() => code,
        _ => reason,
    };
    let detail = if failure.message.is_empty() {
        failure.to_string()
    } else {
        failure.message.clone()
    };
    Parked {
        reason: reason.to_owned(),
        detail,
        rev: push.rev,
        request_id: failure.request_id.clone(),
        stripe_value: None,
    }
}
