//! Stable words for why the pushes are stopped, as heartbeats, `/health/ready` and `…/sync` report them.

/// Stripe has not said yet whose key it is.
pub(crate) const STARTING: &str = "starting";
/// 401.
pub(crate) const KEY_REFUSED: &str = "key_refused";
/// 403.
pub(crate) const PERMISSION_DENIED: &str = "permission_denied";
/// The key belongs to another account than the database.
pub(crate) const OTHER_ACCOUNT: &str = "other_account";
/// The key is of the other mode, test or live, than the database.
pub(crate) const OTHER_MODE: &str = "other_mode";
/// No connection, no answer, or an outage.
pub(crate) const STRIPE_UNAVAILABLE: &str = "stripe_unavailable";
/// Every customer is refused alike.
pub(crate) const REQUESTS_REFUSED: &str = "requests_refused";
/// Responses do not match their requests.
pub(crate) const RESPONSES_MISMATCHED: &str = "responses_mismatched";
/// What answers is not Stripe, or another setting is wrong.
pub(crate) const MISCONFIGURED: &str = "misconfigured";

/// The code for a reason of [`crate::outcome::Action::StopLane`].
pub(crate) fn of_setting(reason: &str) -> &'static str {
    match reason {
        "key_refused" => KEY_REFUSED,
        "permission_denied" => PERMISSION_DENIED,
        "other_mode" => OTHER_MODE,
        _ => MISCONFIGURED,
    }
}
