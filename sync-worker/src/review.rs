//! The log lines of what waits for a person: one for each customer that is parked, unmatched or in conflict. Values of
//! people, such as an e-mail, stay out of the log.

use entity::conflict::Winner;
use entity::stripe_link::{ActiveModel, Parked};
use entity::unmatched;
use sea_orm::prelude::DateTimeUtc;
use uuid::Uuid;

/// Parks a customer, with a line unless it is parked for the same reason already.
pub(crate) fn park(change: &mut ActiveModel, customer_id: Uuid, parked: Parked, now: DateTimeUtc) {
    let known = change.parked_reason.try_as_ref();
    let is_known = known.is_some_and(|known| known.as_ref() == Some(&parked.reason));
    if !is_known {
        tracing::warn!(
            rev = parked.rev,
            request_id = parked.request_id,
            "customer {customer_id} is parked: {}; next step: GET /api/v1/parked/{customer_id}",
            parked.reason
        );
    }
    change.park(parked, now);
}

/// A customer of Stripe's that became no row.
pub(crate) fn unmatched(stripe_id: &str, reason: unmatched::Reason) {
    let reason = reason.as_str();
    tracing::warn!(
        "Stripe customer {stripe_id} is unmatched: {reason}; next step: GET /api/v1/unmatched/{stripe_id}"
    );
}

/// A field that both sides have changed.
pub(crate) fn conflict(customer_id: Uuid, field: &str, winner: Winner) {
    let outcome = match winner {
        Winner::Database => "the database's value wins",
        Winner::Stripe => "Stripe's value wins",
        Winner::Open => "a person decides",
    };
    tracing::warn!(
        "customer {customer_id} has a conflict in {field}: {outcome}; GET /api/v1/conflicts lists both values"
    );
}
