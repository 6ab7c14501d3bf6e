//! What to do about a failed request, by what it was to do and how it failed. Pure.
//!
//! One idempotency key belongs to one operation until the operation's effect is known. By what Stripe
//! documents (<https://docs.stripe.com/error-low-level>, <https://docs.stripe.com/rate-limits>):
//!
//! | line | outcome | it means | action |
//! |---|---|---|---|
//! | 1 | 2xx that can be read | done | none: `upsync/finish.rs` writes it down |
//! | 2 | 2xx that cannot, or that answers another request | done, id unknown | same key; once that is replayed, look up |
//! | 3 | no connection | not sent | same key |
//! | 4 | timeout, reset, cut off | unknown | same key, for 23 hours |
//! | 5 | `idempotency_error` | the key was used for another body | look up, then a new key |
//! | 6 | `idempotency_key_in_use` | a twin is under way | same key |
//! | 7 | 429 | not executed | same key, slower |
//! | 8 | 500 | anything, and the key repeats it | look up after a while, then a new key |
//! | 9 | 502, 503, 504 | unknown | same key |
//! | 10 | 400 and other refusals | wrong for good with this value | park |
//! | 11 | 401, 403, or not Stripe at all | configuration | stop the lane |
//! | 12 | 404 on an update or a delete | perhaps deleted | retrieve it: only `deleted: true` proves it; never create |
//! | 13 | 404, and the object is in the other mode | configuration | stop the lane |

use std::time::Duration;

use crate::stripe::{Failure, FailureKind};

/// What a request was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `POST /v1/customers`, with a key.
    Create,
    /// `POST /v1/customers/{id}`, with a key.
    Update,
    /// `DELETE /v1/customers/{id}`: doing it twice is doing it once.
    Delete,
    /// Every `GET`.
    Read,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the same again, under the same key, after a backoff that is no shorter than the failure's
    /// `retry_after`. Past the key's life (23 hours) look up first.
    Retry,
    /// It was not executed, and the limiter has slowed down: the same again, under the same key. No
    /// attempt was used up.
    SlowDown { retry_after: Option<Duration> },
    /// It may have been executed, and this key will never say. Wait a little, since Stripe may still
    /// carry it out, then look: for a create by our id in the metadata, for an update at the
    /// customer's stamp. Only if it is not there, send it under a new key.
    LookUp { reason: &'static str },
    /// Refused for good, for this customer as it is: nothing happened, and trying again changes
    /// nothing. An edit, or a person's retry, takes a new key: the refusal is saved under the old one.
    Park { reason: &'static str },
    /// Nothing is wrong with this customer: no request of this lane will do until a person changes the
    /// configuration. Burn no attempts; probe with the same request under the same key, because an
    /// earlier attempt under it may have been executed.
    StopLane { reason: &'static str },
    /// An update or a delete of a customer that Stripe does not have. Retrieve it: only `deleted: true`
    /// proves a delete, and a 404 may be that of another account's or mode's key. Never a reason to create.
    Gone,
}

impl Action {
    /// The word for it in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::SlowDown { .. } => "slow_down",
            Self::LookUp { .. } => "look_up",
            Self::Park { .. } => "park",
            Self::StopLane { .. } => "stop_lane",
            Self::Gone => "gone",
        }
    }
}

/// The action for a failed request.
pub fn action(operation: Operation, failure: &Failure) -> Action {
    match failure.kind {
        FailureKind::Unsendable => Action::Park {
            reason: "unsendable",
        },
        FailureKind::NotSent | FailureKind::Unknown | FailureKind::TimedOut => Action::Retry,
        // The key repeats the answer, which may have been garbled on its way only.
        FailureKind::Unparsed | FailureKind::TooLarge => {
            spent_or_retry(operation, failure, "unreadable_answer")
        }
        FailureKind::Mismatched => spent_or_retry(operation, failure, "mismatched_response"),
        FailureKind::Answered => answered(operation, failure),
    }
}

/// Whether Stripe has no such customer.
pub fn is_missing(failure: &Failure) -> bool {
    failure.kind == FailureKind::Answered
        && matches!(action(Operation::Update, failure), Action::Gone)
}

fn answered(operation: Operation, failure: &Failure) -> Action {
    if failure.code.as_deref() == Some("idempotency_key_in_use") {
        // A twin with the same key is under way, and ends.
        return Action::Retry;
    }
    if failure.error_type.as_deref() == Some("idempotency_error") && has_key(operation) {
        // The key was used for something else, such as by a database that has since been restored.
        return Action::LookUp {
            reason: "idempotency_mismatch",
        };
    }
    if failure.is_of_other_mode() {
        return Action::StopLane {
            reason: "other_mode",
        };
    }
    let is_missing = failure.code.as_deref() == Some("resource_missing");
    match failure.status.unwrap_or_default() {
        300..=399 => Action::StopLane {
            reason: "redirected",
        },
        400 | 404 if is_missing && is_about_the_customer(failure) => missing(operation),
        401 => Action::StopLane {
            reason: "key_refused",
        },
        404 | 405 => Action::StopLane {
            reason: "unknown_url",
        },
        429 if failure.code.as_deref() == Some("lock_timeout") => Action::Retry,
        429 => Action::SlowDown {
            retry_after: failure.retry_after,
        },
        500 => server_error(operation, failure),
        // A gateway that dislikes something is not Stripe refusing this customer.
        _ if !failure.is_from_stripe() => Action::Retry,
        // Saved under the key, it would outlive the permission that is granted next.
        403 if failure.replayed && has_key(operation) => Action::LookUp {
            reason: "permission_denied",
        },
        403 => Action::StopLane {
            reason: "permission_denied",
        },
        409 | 424 => conflict(operation, failure),
        400..=499 => refused(failure),
        _ => spent_or_retry(operation, failure, "server_error"),
    }
}

fn is_about_the_customer(failure: &Failure) -> bool {
    matches!(failure.param.as_deref(), None | Some("id" | "customer"))
}

fn missing(operation: Operation) -> Action {
    match operation {
        Operation::Update | Operation::Delete => Action::Gone,
        // Never seen by this account: no delete, but a link that leads to another account or mode.
        Operation::Create | Operation::Read => Action::Park {
            reason: "unknown_in_stripe",
        },
    }
}

/// Indeterminate, and the key will repeat it for a day.
fn server_error(operation: Operation, failure: &Failure) -> Action {
    if has_key(operation) && (failure.should_retry != Some(true) || failure.replayed) {
        Action::LookUp {
            reason: "server_error",
        }
    } else {
        Action::Retry
    }
}

fn conflict(operation: Operation, failure: &Failure) -> Action {
    let is_held = failure.code.as_deref() == Some("lock_timeout");
    if failure.should_retry == Some(false) && !is_held {
        refused(failure)
    } else {
        spent_or_retry(operation, failure, "conflict")
    }
}

fn refused(failure: &Failure) -> Action {
    if failure.should_retry == Some(true) || matches!(failure.status, Some(408 | 425)) {
        Action::Retry
    } else {
        Action::Park { reason: "rejected" }
    }
}

/// Retrying is right as long as the key may still give another answer.
fn spent_or_retry(operation: Operation, failure: &Failure, reason: &'static str) -> Action {
    if failure.replayed && has_key(operation) {
        Action::LookUp { reason }
    } else {
        Action::Retry
    }
}

fn has_key(operation: Operation) -> bool {
    matches!(operation, Operation::Create | Operation::Update)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Create, Delete, Read, Update};

    const ALL: [Operation; 4] = [Create, Update, Delete, Read];

    /// Stripe's refusal: status, type, code, param.
    fn refusal(status: u16, words: [&str; 3]) -> Failure {
        let word = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut failure = silent(status);
        failure.message = "in Stripe's words".to_owned();
        failure.error_type = word(words[0]);
        failure.code = word(words[1]);
        failure.param = word(words[2]);
        failure
    }

    /// An answer that is not in Stripe's form.
    fn silent(status: u16) -> Failure {
        let mut failure = Failure::new(FailureKind::Answered, "");
        failure.status = Some(status);
        failure
    }

    fn replayed(mut failure: Failure) -> Failure {
        failure.replayed = true;
        failure
    }

    fn hinted(mut failure: Failure, should_retry: bool) -> Failure {
        failure.should_retry = Some(should_retry);
        failure
    }

    fn mismatched() -> Failure {
        let mut failure = Failure::new(FailureKind::Mismatched, "another customer");
        failure.status = Some(200);
        failure
    }

    fn unreadable() -> Failure {
        let mut failure = Failure::new(FailureKind::Unparsed, "no JSON");
        failure.status = Some(200);
        failure
    }

    fn park(reason: &'static str) -> Action {
        Action::Park { reason }
    }

    fn look_up(reason: &'static str) -> Action {
        Action::LookUp { reason }
    }

    fn stop(reason: &'static str) -> Action {
        Action::StopLane { reason }
    }

    #[track_caller]
    fn assert_for(operations: &[Operation], failure: &Failure, expected: &Action) {
        for operation in operations {
            assert_eq!(
                action(*operation, failure),
                *expected,
                "{operation:?}: {failure}"
            );
        }
    }

    #[test]
    fn line_2_an_answer_that_makes_no_sense_is_replayed_and_then_looked_up() {
        assert_for(&ALL, &unreadable(), &Action::Retry);
        let again = replayed(unreadable());
        assert_for(&[Create, Update], &again, &look_up("unreadable_answer"));
        assert_for(&[Delete, Read], &again, &Action::Retry);
    }

    #[test]
    fn line_2_mismatched_response_is_replayed_and_then_looked_up() {
        assert_for(&ALL, &mismatched(), &Action::Retry);
        let again = replayed(mismatched());
        assert_for(&[Create, Update], &again, &look_up("mismatched_response"));
        assert_for(&[Delete, Read], &again, &Action::Retry);
    }

    #[test]
    fn line_3_what_was_not_sent_is_sent_again() {
        let failure = Failure::new(FailureKind::NotSent, "connection refused");
        assert_for(&ALL, &failure, &Action::Retry);
    }

    #[test]
    fn line_4_what_may_have_happened_is_sent_again_under_its_key() {
        for kind in [FailureKind::Unknown, FailureKind::TimedOut] {
            let mut failure = Failure::new(kind, "timed out");
            assert_for(&ALL, &failure, &Action::Retry);
            failure.status = Some(200);
            assert_for(&ALL, &failure, &Action::Retry);
        }
    }

    #[test]
    fn line_5_a_key_that_belongs_to_another_body_is_given_up_after_a_look() {
        for status in [400, 404, 409] {
            let failure = refusal(status, ["idempotency_error", "", ""]);
            assert_for(
                &[Create, Update],
                &failure,
                &look_up("idempotency_mismatch"),
            );
        }
    }

    #[test]
    fn line_6_a_twin_under_way_is_waited_for() {
        for (status, kind) in [
            (409, "idempotency_error"),
            (409, "invalid_request_error"),
            (400, "idempotency_error"),
        ] {
            let failure = refusal(status, [kind, "idempotency_key_in_use", ""]);
            assert_for(&ALL, &failure, &Action::Retry);
            assert_for(&ALL, &hinted(failure, false), &Action::Retry);
        }
    }

    #[test]
    fn line_7_a_rate_limit_slows_down_and_costs_nothing() {
        let mut failure = refusal(429, ["rate_limit_error", "rate_limit", ""]);
        failure.rate_limited_reason = Some("endpoint-rate".to_owned());
        failure.retry_after = Some(Duration::from_secs(2));
        let slow = Action::SlowDown {
            retry_after: Some(Duration::from_secs(2)),
        };
        assert_for(&ALL, &failure, &slow);
        assert_for(&ALL, &silent(429), &Action::SlowDown { retry_after: None });
    }

    #[test]
    fn line_7_contention_for_one_object_is_no_rate_limit() {
        let failure = refusal(429, ["invalid_request_error", "lock_timeout", ""]);
        assert_for(&ALL, &failure, &Action::Retry);
    }

    #[test]
    fn line_8_a_500_is_looked_up_because_its_key_repeats_it() {
        for failure in [silent(500), refusal(500, ["api_error", "", ""])] {
            assert_for(&[Create, Update], &failure, &look_up("server_error"));
            assert_for(
                &[Create, Update],
                &hinted(failure.clone(), false),
                &look_up("server_error"),
            );
            let hopeful = hinted(failure.clone(), true);
            assert_for(&[Create, Update], &hopeful, &Action::Retry);
            assert_for(
                &[Create, Update],
                &replayed(hopeful),
                &look_up("server_error"),
            );
            assert_for(&[Delete, Read], &failure, &Action::Retry);
        }
    }

    #[test]
    fn line_9_a_gateway_says_nothing_about_what_happened() {
        for status in [502, 503, 504, 520, 400, 403, 408, 413, 422] {
            assert_for(&ALL, &silent(status), &Action::Retry);
        }
        for status in [502, 503, 504] {
            let failure = refusal(status, ["api_error", "", ""]);
            assert_for(&ALL, &failure, &Action::Retry);
            assert_for(
                &[Create, Update],
                &replayed(failure),
                &look_up("server_error"),
            );
        }
    }

    #[test]
    fn line_10_a_value_that_stripe_refuses_parks_this_customer_only() {
        let failures = [
            refusal(400, ["invalid_request_error", "email_invalid", "email"]),
            refusal(
                400,
                [
                    "invalid_request_error",
                    "parameter_invalid_string_empty",
                    "name",
                ],
            ),
            refusal(400, ["invalid_request_error", "", ""]),
            refusal(402, ["card_error", "card_declined", ""]),
            hinted(refusal(409, ["invalid_request_error", "", ""]), false),
        ];
        for failure in failures {
            assert_for(&ALL, &failure, &park("rejected"));
        }
        let failure = refusal(400, ["invalid_request_error", "", "email"]);
        assert_for(&ALL, &hinted(failure, true), &Action::Retry);
    }

    #[test]
    fn line_11_a_key_that_stripe_refuses_stops_the_lane_and_parks_nothing() {
        let refused = refusal(401, ["invalid_request_error", "", ""]);
        assert_for(&ALL, &refused, &stop("key_refused"));
        assert_for(&ALL, &silent(401), &stop("key_refused"));
    }

    #[test]
    fn line_11_a_missing_permission_stops_the_lane_and_does_not_outlive_itself() {
        let denied = refusal(403, ["invalid_request_error", "", ""]);
        assert_for(&ALL, &denied, &stop("permission_denied"));
        let saved = replayed(denied);
        assert_for(&[Create, Update], &saved, &look_up("permission_denied"));
        assert_for(&[Delete, Read], &saved, &stop("permission_denied"));
    }

    #[test]
    fn line_11_a_wrong_base_url_stops_the_lane_and_deletes_nothing() {
        for failure in [
            silent(404),
            refusal(404, ["invalid_request_error", "", ""]),
            silent(405),
        ] {
            assert_for(&ALL, &failure, &stop("unknown_url"));
        }
        for status in [301, 302, 307, 308] {
            assert_for(&ALL, &silent(status), &stop("redirected"));
        }
    }

    fn missing_customers() -> impl Iterator<Item = Failure> {
        [(404, "id"), (404, ""), (400, "id"), (404, "customer")]
            .into_iter()
            .map(|(status, param)| {
                refusal(status, ["invalid_request_error", "resource_missing", param])
            })
    }

    #[test]
    fn line_12_a_customer_that_stripe_does_not_have_is_never_created_by_reflex() {
        for failure in missing_customers() {
            assert_for(&[Update, Delete], &failure, &Action::Gone);
            assert_for(&[Create, Read], &failure, &park("unknown_in_stripe"));
            assert!(is_missing(&failure));
        }
        assert!(!is_missing(&silent(404)), "not Stripe's words");
    }

    #[test]
    fn line_13_object_of_the_other_mode_stops_the_lane() {
        for mut failure in missing_customers() {
            failure.message = "No such customer: 'cus_1'; a similar object exists in live mode, but a test mode key was used to make this request.".to_owned();
            assert_for(&ALL, &failure, &stop("other_mode"));
            assert!(!is_missing(&failure));
        }
    }

    #[test]
    fn line_10_another_missing_thing_is_not_a_missing_customer() {
        let failure = refusal(
            400,
            [
                "invalid_request_error",
                "resource_missing",
                "starting_after",
            ],
        );
        assert_for(&ALL, &failure, &park("rejected"));
    }

    #[test]
    fn line_9_a_failed_dependency_is_tried_again() {
        let failure = refusal(424, ["api_error", "", ""]);
        assert_for(&ALL, &failure, &Action::Retry);
        assert_for(&[Create, Update], &replayed(failure), &look_up("conflict"));
    }

    #[test]
    fn line_10_what_no_request_can_carry_is_parked() {
        let failure = Failure::new(FailureKind::Unsendable, "an id that no stripe customer has");
        assert_for(&ALL, &failure, &park("unsendable"));
    }
}
