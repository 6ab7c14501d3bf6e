//! What a person can do about a pending customer, by the reason. Pure.

/// One sentence.
pub(super) fn of(reason: &str) -> &'static str {
    match reason {
        "no_live_relay" => "Start outbox-relay, or find out from its log why it stopped.",
        "no_live_worker" => "Start sync-worker, or find out from its log why it stopped.",
        "key_refused" => {
            "Set STRIPE_SECRET_KEY to a key that Stripe accepts and restart sync-worker; then it goes on by itself."
        }
        "permission_denied" => {
            "Give the key of STRIPE_SECRET_KEY the permissions Customers: write and Events: read; then it goes on by \
             itself."
        }
        "other_account" => {
            "Set STRIPE_SECRET_KEY to a key of the account that this database belongs to, and restart sync-worker."
        }
        "other_mode" => {
            "Set STRIPE_SECRET_KEY to a key of the mode, test or live, that this database belongs to, and restart \
             sync-worker."
        }
        "requests_refused" => {
            "Find the refused requests in Stripe's log and correct what they have in common; it is tried again by itself."
        }
        "responses_mismatched" => {
            "Find the proxy or cache in front of Stripe that answers with other responses; it is tried again by itself."
        }
        "misconfigured" => "Correct the setting that the detail names, and restart sync-worker.",
        "stripe_unavailable" => {
            "Nothing to do here: it is tried again by itself; if it lasts, check the network and \
             https://status.stripe.com."
        }
        "broker_unavailable" => "Correct what the relay reports; then it goes on by itself.",
        "worker_problem" => "Correct what the worker reports; then it goes on by itself.",
        "rate_limited" => {
            "Nothing to do here: it is tried again by itself, more slowly; lower STRIPE_RATE if it happens often."
        }
        "backing_off" => {
            "Nothing to do here: it is tried again at next_attempt_at; if it lasts, see the customer's timeline."
        }
        _ => "Nothing to do: it goes on by itself.",
    }
}

/// The reason for a failure that the timeline notes: Stripe's code, or a status, or what became of the request.
pub(super) fn of_failure(code: &str) -> &'static str {
    match code {
        "not_sent" | "no_answer" | "timed_out" => "stripe_unavailable",
        "rate_limit" | "lock_timeout" | "http_429" => "rate_limited",
        _ if code.starts_with("http_5") => "stripe_unavailable",
        _ => "backing_off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_grouped_by_what_to_do() {
        for (code, reason) in [
            ("no_answer", "stripe_unavailable"),
            ("http_503", "stripe_unavailable"),
            ("http_429", "rate_limited"),
            ("rate_limit", "rate_limited"),
            ("idempotency_key_in_use", "backing_off"),
            ("http_409", "backing_off"),
        ] {
            assert_eq!(of_failure(code), reason, "{code}");
        }
    }

    #[test]
    fn every_reason_has_one_sentence() {
        for reason in ["key_refused", "no_live_worker", "queued", "later versions"] {
            let text = of(reason);
            assert!(text.ends_with('.') && text.matches(". ").count() == 0);
        }
    }
}
