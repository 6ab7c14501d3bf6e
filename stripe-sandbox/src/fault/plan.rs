//! What the faults that struck one request do to it. They add up; of two that exclude each other, the one
//! that was armed first holds.

use std::time::Duration;

use super::kind::Kind;
use super::page::Spoil;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::seam::Seam;
use crate::wire::error::Error;

#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The names of the faults, for the record of requests.
    pub(crate) names: Vec<String>,
    /// What is done to the line before the request is even read.
    pub(crate) instead: Option<Line>,
    /// What is done to the line once there is an answer.
    pub(crate) after: Option<Line>,
    /// Answered at the door: nothing is done, nothing is saved.
    pub(crate) refusal: Option<Error>,
    pub(crate) seam: Seam,
    pub(crate) other_account: bool,
    pub(crate) other_mode: bool,
    /// The request is kept, and arrives when it is told to.
    pub(crate) late: bool,
    pub(crate) delay_after: Duration,
    headers: Vec<(&'static str, String)>,
    first_page_always: bool,
    limit: Option<usize>,
    spoils: Vec<Spoil>,
    dice: u64,
}

/// What becomes of an answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Cut,
    GatewayError,
    Empty,
    Garbled,
    Truncated,
}

impl Plan {
    pub(crate) fn new(struck: &[Kind], dice: u64) -> Self {
        let mut plan = Self {
            dice,
            ..Self::default()
        };
        for kind in struck {
            plan.names.push(kind.name());
            plan.add(kind);
        }
        plan
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.names.is_empty()
    }

    /// The request as the API gets it.
    pub(crate) fn alter(&self, mut call: Call) -> Call {
        if self.first_page_always {
            call.query = without(&call.query, &["starting_after", "ending_before", "page"]);
        }
        if let Some(limit) = self.limit {
            let query = without(&call.query, &["limit"]);
            call.query = format!("{query}&limit={limit}");
        }
        call
    }

    /// The answer as it is sent.
    pub(crate) fn spoil(&self, mut answer: Answer) -> Answer {
        answer.headers.extend(self.headers.iter().cloned());
        for spoil in &self.spoils {
            // Shown as the other mode's once more, an object of the other mode would look like one of this mode.
            if !(self.other_mode && spoil.shows_other_mode()) {
                spoil.apply(&mut answer, self.dice);
            }
        }
        answer
    }

    fn add(&mut self, kind: &Kind) {
        match kind {
            Kind::LatencyBeforeEffect { delay } => self.seam.delay_before_effect += *delay,
            Kind::LatencyAfterEffect { delay } => self.delay_after += *delay,
            Kind::ErrorBeforeEffect { should_retry } => {
                self.seam.instead_of_effect.get_or_insert_with(broken);
                self.say_retry(*should_retry);
            }
            Kind::ErrorAfterEffect { should_retry } => {
                self.seam.after_effect.get_or_insert_with(broken);
                self.say_retry(*should_retry);
            }
            Kind::GatewayErrorBeforeEffect => drop(self.instead.get_or_insert(Line::GatewayError)),
            Kind::DeliveredLate => {
                self.late = true;
                self.instead.get_or_insert(Line::Cut);
            }
            Kind::ResetBeforeEffect => drop(self.instead.get_or_insert(Line::Cut)),
            Kind::GatewayErrorAfterEffect => drop(self.after.get_or_insert(Line::GatewayError)),
            Kind::ResetAfterEffect => drop(self.after.get_or_insert(Line::Cut)),
            Kind::EmptyBody => drop(self.after.get_or_insert(Line::Empty)),
            Kind::GarbledBody => drop(self.after.get_or_insert(Line::Garbled)),
            Kind::TruncatedBody => drop(self.after.get_or_insert(Line::Truncated)),
            Kind::RateLimited { reason } => {
                self.refusal.get_or_insert_with(Error::rate_limited);
                self.headers
                    .push(("stripe-rate-limited-reason", reason.name().to_owned()));
            }
            Kind::LockTimeout => {
                self.refusal.get_or_insert_with(locked);
                self.say_retry(Some(true));
            }
            Kind::Unauthorized => drop(self.refusal.get_or_insert_with(unauthorized)),
            Kind::Forbidden => drop(self.refusal.get_or_insert_with(forbidden)),
            Kind::UnknownVersion => drop(self.refusal.get_or_insert_with(unknown_version)),
            Kind::IdempotencyForgotten => self.seam.forget_key = true,
            Kind::SearchLag { delay } => self.seam.search_lag = self.seam.search_lag.max(*delay),
            Kind::RepeatedPage => self.first_page_always = true,
            Kind::ShortPage { limit } => self.limit = Some((*limit).clamp(1, 100)),
            Kind::OtherAccount => self.other_account = true,
            Kind::OtherModeKey => self.other_mode = true,
            other => self.spoils.extend(Spoil::of(other)),
        }
    }

    fn say_retry(&mut self, should_retry: Option<bool>) {
        if let Some(retry) = should_retry {
            self.headers
                .push(("stripe-should-retry", retry.to_string()));
        }
    }
}

/// The query without the parameters of these names.
fn without(query: &str, names: &[&str]) -> String {
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            !pair.is_empty() && !names.contains(&pair.split('=').next().unwrap_or_default())
        })
        .collect();
    kept.join("&")
}

fn broken() -> Error {
    Error::internal(
        "An unknown error occurred. If you continue to see this error, please contact us at https://support.stripe.com/.",
    )
}

fn locked() -> Error {
    let message = "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see this error intermittently, retry the request. If you see this error frequently and are making multiple concurrent requests to a single object, make your requests serially or at a lower rate. For more details, see https://stripe.com/docs/rate-limits#object-lock-timeouts.";
    Error::invalid(429, message).code("lock_timeout")
}

fn unauthorized() -> Error {
    Error::invalid(401, "Expired API Key provided: sk_test_******").code("api_key_expired")
}

fn forbidden() -> Error {
    Error::invalid(
        403,
        "The provided key 'rk_test_******' does not have the required permissions for this endpoint on this account. Having the 'rak_customer_write' permission would allow this request to continue.",
    )
}

fn unknown_version() -> Error {
    Error::invalid(400, "Invalid Stripe API version: 2001-01-01")
}
