//! What is written down when Stripe did not take a push: by the outcome table, try again later, give
//! up this key, wait for a person, or stop the lane.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::stripe_link::{self, Parked};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, DbErr, IntoActiveModel};

use super::begin::Push;
use super::finish::Pushed;
use crate::engine::{Engine, RETRY};
use crate::lane;
use crate::outcome::{Action, Operation, action};
use crate::stripe::{Failure, FailureKind};

/// After a 500 Stripe may still carry the request out. So long it is left alone, then looked up.
const GRACE: Duration = Duration::from_secs(10);

/// Records a failed push under the link's lock.
pub(super) async fn record(
    engine: &Engine,
    (tx, link, now): (&DatabaseTransaction, &stripe_link::Model, DateTime<Utc>),
    push: &Push,
    (operation, failure): (Operation, &Failure),
) -> Result<Pushed, DbErr> {
    let action = action(operation, failure);
    tracing::warn!(
        customer.id = %push.customer_id,
        rev = push.rev,
        attempt = link.attempts + 1,
        ?operation,
        ?action,
        %failure,
        "stripe did not take a push"
    );
    let mut ended = link.clone().into_active_model();
    ended.end_push();
    // Only a look-up failed: this attempt has sent nothing.
    let was_sent = operation != Operation::Read;
    if !was_sent && !push.in_doubt {
        ended.end_request();
    }
    let attempts = link.attempts.saturating_add(1);
    let rest = RETRY.jittered(attempts.unsigned_abs());
    let pushed = match action {
        Action::Retry => {
            ended.attempts = Set(attempts);
            let rest = rest.max(failure.retry_after.unwrap_or_default());
            ended.next_attempt_at = Set(Some(now + rest));
            Pushed::Later
        }
        // Not this customer's fault: no attempt is counted.
        Action::SlowDown { retry_after } => {
            let rest = retry_after.unwrap_or_default().max(rest);
            ended.next_attempt_at = Set(Some(now + rest));
            Pushed::Later
        }
        Action::LookUp { .. } => {
            ended.give_up_key();
            ended.attempts = Set(attempts);
            ended.next_attempt_at = Set(Some(now + rest.max(GRACE)));
            Pushed::Later
        }
        Action::StopLane { reason } => {
            engine.lane.stop(lane_is_stopped(reason, failure));
            // The refusal may be saved under the key.
            if was_sent {
                ended.give_up_key();
            }
            ended.next_attempt_at = Set(Some(now + lane::REST));
            Pushed::Later
        }
        Action::Park { reason } => {
            match operation {
                Operation::Read => {}
                // This request is not in doubt any more, but an earlier one is.
                Operation::Update if push.in_doubt => ended.give_up_key(),
                _ => ended.end_request(),
            }
            ended.park(parked(reason, push, failure), now);
            Pushed::Parked
        }
        // `send` has asked for the customer already, and Stripe knows nothing of it.
        Action::Gone | Action::AlreadyGone => {
            ended.end_request();
            ended.park(parked("unknown_in_stripe", push, failure), now);
            Pushed::Parked
        }
    };
    ended.store(tx, now).await?;
    Ok(pushed)
}

fn parked(reason: &'static str, push: &Push, failure: &Failure) -> Parked {
    // Stripe names the value at fault better than we can: `email_invalid` rather than `rejected`.
    let reason = failure.code.as_deref().unwrap_or(reason);
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
    }
}

/// Why the lane stops and what to do, for the health page.
pub(super) fn lane_is_stopped(reason: &str, failure: &Failure) -> String {
    let what = match reason {
        "key_refused" => "Stripe refuses STRIPE_SECRET_KEY; set a key that is valid",
        "permission_denied" => {
            "STRIPE_SECRET_KEY lacks a permission; it needs Customers: write and Events: read"
        }
        _ => "STRIPE_API_BASE does not answer like Stripe's API; correct it",
    };
    format!("{what} ({failure}); pushes wait and go on by themselves")
}

/// Whether Stripe has no such customer.
pub(crate) fn is_missing(failure: &Failure) -> bool {
    failure.kind == FailureKind::Answered
        && matches!(
            action(Operation::Update, failure),
            Action::Gone | Action::AlreadyGone
        )
}

/// A push that ran out of time: its effect is unknown.
pub(super) fn timed_out() -> Failure {
    Failure::new(FailureKind::Unknown, "the push took too long")
}
