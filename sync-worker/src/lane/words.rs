//! Why the lane stands still and what to do about it, for the health page.

use chrono::{DateTime, SecondsFormat, Utc};

use super::ENOUGH;
use crate::stripe::Failure;

/// That a response did not match its request, and no push has succeeded since, for the health page.
pub(crate) const MISMATCH: &str = "a response of Stripe's does not match its request, so the outcome is unknown; the \
     customer is retried under the same idempotency key; look for a proxy or a cache in front of Stripe";

/// Why the lane stops and what to do, for the health page.
pub(crate) fn lane_is_stopped(reason: &str, failure: &Failure) -> String {
    let what = match reason {
        "key_refused" => "Stripe refuses STRIPE_SECRET_KEY; set a key that is valid",
        "permission_denied" => {
            "STRIPE_SECRET_KEY lacks a permission; it needs Customers: write and Events: read"
        }
        "other_mode" => {
            "STRIPE_SECRET_KEY is a key of the other mode than the customers that this database is linked to; set a \
             key of their mode, live or test"
        }
        _ => "STRIPE_API_BASE does not answer like Stripe's API; correct it",
    };
    format!("{what} ({failure}); pushes wait and go on by themselves")
}

/// Since when Stripe is away, for the health page, which adds when it is tried next.
pub(crate) fn is_away(since: DateTime<Utc>, failure: &Failure) -> String {
    let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("Stripe is away since {since} ({failure}); pushes wait and go on by themselves")
}

/// Why the lane stops although Stripe is there and takes the key.
pub(crate) fn refuses_everyone(failure: &Failure) -> String {
    format!(
        "Stripe refuses {ENOUGH} customers in a row alike ({failure}), so no more are parked for it; look \
         in Stripe's log for the request; pushes are tried again by themselves"
    )
}

/// Why the lane stops although Stripe answers.
pub(crate) fn answers_others(failure: &Failure) -> String {
    format!(
        "the responses to the last {ENOUGH} customers do not match their requests ({failure}), so their outcome is \
         unknown; look for a proxy or a cache in front of Stripe; pushes are tried again under the same idempotency keys"
    )
}
