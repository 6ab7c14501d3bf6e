//! How far a customer is on its way to Stripe, read from what the worker has written; and the wait until it is there.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::parked::Reason;
use entity::{conflict, customer, stripe_link};
use platform::backoff;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object};
use sea_orm::DbErr;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Customers;
use super::key::Key;
use super::representation::Json;
use crate::database::patiently;
use crate::problem::Problem;

use pending::Pending;

pub(crate) use summary::{Summaries, Summary};

mod pending;
mod summary;

const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The pauses between two looks grow from the first to the second, so that a thousand waiting clients are a thousand
/// cheap reads a second at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

const DECIDE: &str =
    "Choose a side for each of the fields, by the resolve call of /api/v1/conflicts.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "SyncStatus", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// On its way, or to be tried again; `reason` says what it waits for.
    Pending,
    /// Stripe has this revision.
    Synced,
    /// Stripe refused this revision for good; an edit or a person brings it on its way again.
    Parked,
    /// A field was changed on both sides and waits for a person's decision.
    Conflict,
    /// The link is cut: deleted on one side and, by policy, left alone on the other.
    Detached,
}

/// How far a customer is on its way to Stripe.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct SyncState {
    status: Status,
    customer_id: Uuid,
    /// The revision of the customer.
    customer_rev: i64,
    /// The highest revision that asks for nothing more.
    synced_rev: i64,
    /// Stripe's id, once it has one.
    #[oai(nullable)]
    stripe_id: Option<String>,
    /// Why this revision is parked or pending. Of a pending one: `no_live_relay`, `no_live_worker`, `key_refused`,
    /// `permission_denied`, `other_account`, `other_mode`, `stripe_unavailable`, `requests_refused`, `misconfigured`,
    /// `responses_mismatched`, `broker_unavailable`, `worker_problem`, `rate_limited`, `backing_off`, `starting`, `sending`,
    /// `publishing` or `queued`.
    #[oai(nullable)]
    reason: Option<String>,
    /// The same in words: what Stripe said to it, or what relay and worker report.
    #[oai(nullable)]
    detail: Option<String>,
    /// Since when it has this reason.
    #[oai(nullable)]
    since: Option<DateTime<Utc>>,
    /// What to do about it, in a sentence.
    #[oai(nullable)]
    next_step: Option<String>,
    /// Stripe's id of the request that it refused.
    #[oai(nullable)]
    request_id: Option<String>,
    /// Failed attempts in a row.
    attempts: i32,
    /// When it is tried again, or pushes as a whole are.
    #[oai(nullable)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// The fields that wait for a person's decision.
    conflicts: Vec<String>,
}

impl Example for SyncState {
    fn example() -> Self {
        Self {
            status: Status::Synced,
            customer_id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
            customer_rev: 1,
            synced_rev: 1,
            stripe_id: Some("cus_NffrFeUfNV2Hib".to_owned()),
            reason: None,
            detail: None,
            since: None,
            next_step: None,
            request_id: None,
            attempts: 0,
            next_attempt_at: None,
            conflicts: Vec::new(),
        }
    }
}

#[derive(ApiResponse)]
pub(super) enum State {
    /// The state; after a wait perhaps still `pending`.
    #[oai(status = 200)]
    Sync(Json<SyncState>),
}

/// How long to wait at most, in words such as 10s.
pub(crate) fn wait(text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else {
        return Ok(Duration::ZERO);
    };
    let invalid = |detail| Problem::invalid("wait", detail);
    let wait = platform::config::duration(text)
        .map_err(|_| invalid("wait must be a duration, such as 500ms or 10s"))?;
    if wait > LONGEST_WAIT {
        return Err(invalid("wait must be at most 60s"));
    }
    Ok(wait)
}

impl Customers {
    /// The state of the sync, as soon as it is another than pending, or when `wait` is over. No connection is held in
    /// between.
    pub(super) async fn sync(&self, key: &Key, wait: Duration) -> Result<State, Problem> {
        let until = Instant::now() + wait;
        // A tombstone has no e-mail of its own any more, but it has its id.
        let id = match key {
            Key::Id(id) => *id,
            Key::Email(_) => self.find(key).await?.id,
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let state = patiently(|| self.look(id)).await?;
            let state = state.ok_or_else(Problem::no_such_customer)?;
            if state.status != Status::Pending || Instant::now() >= until {
                return self.explained(state).await;
            }
            let next = until.min(Instant::now() + backoff::jitter(pause));
            tokio::select! {
                () = sleep_until(next) => {}
                // The process stops: say what is known instead of holding it up.
                () = self.stop.cancelled() => return self.explained(state).await,
            }
            pause = LONGEST_PAUSE.min(pause.mul_f64(1.5));
        }
    }

    /// The state with what a pending customer waits for: read once, not at each look of a wait.
    async fn explained(&self, mut state: SyncState) -> Result<State, Problem> {
        if state.status == Status::Pending
            && let Some(pending) = patiently(|| self.pending(state.customer_id)).await?
        {
            state.reason = Some(pending.reason);
            state.detail = Some(pending.detail);
            state.since = Some(pending.since);
            state.next_step = Some(pending.next_step.to_owned());
            state.next_attempt_at = pending.next_attempt_at;
        }
        Ok(State::Sync(Json::of(&state)))
    }

    async fn pending(&self, id: Uuid) -> Result<Option<Pending>, DbErr> {
        let Some(row) = customer::find(&self.db, id).await? else {
            return Ok(None);
        };
        let link = stripe_link::find(&self.db, id).await?;
        let pending = pending::explain(&self.db, &self.clock, (&row, link.as_ref())).await?;
        Ok(Some(pending))
    }

    async fn look(&self, id: Uuid) -> Result<Option<SyncState>, DbErr> {
        let Some(row) = customer::find(&self.db, id).await? else {
            return Ok(None);
        };
        let link = stripe_link::find(&self.db, id).await?;
        let open = match &link {
            Some(_) => conflict::open_of(&self.db, id).await?,
            None => Vec::new(),
        };
        Ok(Some(state(&row, link, &open)))
    }
}

fn state(
    row: &customer::Model,
    link: Option<stripe_link::Model>,
    open: &[conflict::Model],
) -> SyncState {
    let mut conflicts: Vec<_> = open.iter().map(|one| one.field.clone()).collect();
    conflicts.sort();
    conflicts.dedup();
    let mut sync = SyncState {
        status: Status::Pending,
        customer_id: row.id,
        customer_rev: row.rev,
        synced_rev: 0,
        stripe_id: None,
        reason: None,
        detail: None,
        since: None,
        next_step: None,
        request_id: None,
        attempts: 0,
        next_attempt_at: None,
        conflicts,
    };
    let Some(link) = link else {
        return sync;
    };
    sync.status = status(
        (row.rev, link.synced_rev),
        link.parked_reason.as_ref().and(link.parked_rev),
        !open.is_empty(),
        link.detached_at.is_some(),
    );
    sync.synced_rev = link.synced_rev;
    sync.stripe_id = link.stripe_id;
    sync.attempts = link.attempts;
    sync.next_attempt_at = link.next_attempt_at;
    match sync.status {
        Status::Parked => {
            let reason = link.parked_reason.as_deref().map(Reason::of);
            sync.next_step = reason.map(|reason| reason.next_step().to_owned());
            sync.reason = link.parked_reason;
            sync.detail = link.parked_detail;
            sync.since = link.parked_at;
            sync.request_id = link.parked_request_id;
        }
        Status::Conflict => {
            sync.since = open.iter().map(|one| one.created_at).min();
            sync.next_step = Some(DECIDE.to_owned());
        }
        Status::Detached => sync.since = link.detached_at,
        Status::Pending | Status::Synced => {}
    }
    sync
}

fn status(
    (rev, synced_rev): (i64, i64),
    parked_rev: Option<i64>,
    is_in_conflict: bool,
    is_detached: bool,
) -> Status {
    if is_detached {
        Status::Detached
    } else if rev > synced_rev && parked_rev >= Some(rev) {
        Status::Parked
    } else if is_in_conflict {
        // Before `synced`, which would be untrue of the field in question.
        Status::Conflict
    } else if rev <= synced_rev {
        Status::Synced
    } else {
        Status::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_unparks_and_a_decision_that_is_due_goes_before_synced() {
        let cut = false;
        assert_eq!(status((3, 2), None, false, cut), Status::Pending);
        assert_eq!(status((3, 3), None, false, cut), Status::Synced);
        assert_eq!(status((3, 4), None, false, cut), Status::Synced);
        assert_eq!(status((3, 2), Some(3), false, cut), Status::Parked);
        assert_eq!(status((4, 2), Some(3), false, cut), Status::Pending);
        assert_eq!(status((3, 3), Some(3), false, cut), Status::Synced);
        assert_eq!(status((3, 3), None, true, cut), Status::Conflict);
        assert_eq!(status((3, 2), Some(3), true, cut), Status::Parked);
        assert_eq!(status((3, 3), None, true, true), Status::Detached);
    }

    #[test]
    fn a_wait_is_a_duration_of_at_most_a_minute() {
        assert_eq!(wait(None).unwrap(), Duration::ZERO);
        assert_eq!(wait(Some("0s")).unwrap(), Duration::ZERO);
        assert_eq!(wait(Some("1m")).unwrap(), LONGEST_WAIT);
        for bad in ["", "10", "-1s", "61s", "1h", "soon"] {
            assert!(wait(Some(bad)).is_err(), "{bad}");
        }
    }
}
