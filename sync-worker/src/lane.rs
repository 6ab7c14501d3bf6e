//! The circuit breaker of the pushes. While Stripe refuses our key, is unavailable, or refuses every customer alike,
//! pushing more would only fail for everyone: the lane stops, reports why, and tries again by itself.
//!
//! It is closed, open (stopped), or half-open: a small request has succeeded, and pushes go on, but none of them has
//! succeeded yet. Half-open it still reports why it was open, because a read that works proves nothing of the writes.

use std::time::Duration;

use platform::backoff::Backoff;
use platform::health::Problem;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use blame::Blame;

pub(crate) use blame::{ENOUGH, Trouble};

mod blame;
pub(crate) mod code;
pub(crate) mod words;

/// How long the lane rests before it tries again whether a person has put things right.
pub(crate) const REST: Duration = Duration::from_secs(10);

/// The rests while Stripe is away. Short, because one small request costs nothing and everybody waits.
const AWAY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(10),
};

#[derive(Clone, Debug)]
pub struct LaneState {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    stop: Option<Stop>,
    /// Half-open: why it was stopped, until a push proves that over.
    unproven: Option<Stop>,
    blame: Blame,
    /// The last push ended with a response that does not match its request.
    has_mismatch: bool,
}

#[derive(Clone, Debug)]
struct Stop {
    /// A stable word for the reason, of [`code`].
    code: &'static str,
    reason: String,
    next_try: Instant,
    /// What failed for so many; none where a person's setting is at fault.
    trouble: Option<Trouble>,
}

impl Default for LaneState {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::default()),
        }
    }
}

impl LaneState {
    /// Stops the lane until a person has changed a setting; the reason is shown by the health page.
    pub fn stop(&self, reason: impl Into<String>) {
        self.stop_for(code::MISCONFIGURED, reason);
    }

    /// The same, with a code of [`code`] for the reason.
    pub fn stop_for(&self, code: &'static str, reason: impl Into<String>) {
        self.set(Stop {
            code,
            reason: reason.into(),
            next_try: Instant::now() + REST,
            trouble: None,
        });
    }

    /// Stops a lane that has not run yet, until somebody has looked whose key it is.
    pub fn hold(&self) {
        self.set(Stop {
            code: code::STARTING,
            reason: "Stripe has not confirmed yet which account STRIPE_SECRET_KEY belongs to"
                .to_owned(),
            next_try: Instant::now(),
            trouble: None,
        });
    }

    /// A stopped lane was tried, and Stripe is away, still or by now. The first reason stands: it says since when.
    pub(crate) fn is_still_away(&self, reason: impl FnOnce() -> String) {
        self.state.send_modify(|state| {
            let rests = state.blame.again(Trouble::Away);
            state.halt(Stop {
                code: code::STRIPE_UNAVAILABLE,
                reason: reason(),
                next_try: Instant::now() + AWAY.jittered(rests),
                trouble: Some(Trouble::Away),
            });
        });
    }

    /// A customer was not pushed. Returns whether that is the lane's trouble: then the lane stands still, and
    /// neither an attempt nor a park is this customer's.
    pub(crate) fn failed(
        &self,
        customer_id: Uuid,
        trouble: Trouble,
        reason: impl FnOnce() -> String,
    ) -> bool {
        let mut is_lanes = false;
        self.state.send_if_modified(|state| {
            state.has_mismatch |= trouble == Trouble::Mismatched;
            if state.stop.is_some() {
                // It was under way when the lane stopped.
                is_lanes = true;
                return false;
            }
            let Some(rests) = state.blame.failed(customer_id, &trouble) else {
                return false;
            };
            is_lanes = true;
            let (code, rest) = match trouble {
                Trouble::Away => (code::STRIPE_UNAVAILABLE, AWAY.jittered(rests)),
                Trouble::Refused { .. } => (code::REQUESTS_REFUSED, REST),
                Trouble::Mismatched => (code::RESPONSES_MISMATCHED, REST),
            };
            state.halt(Stop {
                code,
                reason: reason(),
                next_try: Instant::now() + rest,
                trouble: Some(trouble),
            });
            true
        });
        is_lanes
    }

    /// Stripe has answered a push, whatever it said: it is not away. Unless `refuses_key`, it takes the key.
    pub(crate) fn answered(&self, refuses_key: bool) {
        self.state.send_if_modified(|state| {
            state.blame.answered();
            state.prove(|stop| match stop.trouble {
                Some(Trouble::Away) => true,
                Some(Trouble::Refused { .. } | Trouble::Mismatched) => false,
                None => !refuses_key,
            })
        });
    }

    /// Stripe has taken a push, so what failed for others is not everybody's trouble.
    pub(crate) fn succeeded(&self) {
        self.state.send_if_modified(|state| {
            state.blame = Blame::default();
            state.has_mismatch = false;
            let was_troubled = state
                .stop
                .as_ref()
                .is_some_and(|stop| stop.trouble.is_some());
            if was_troubled {
                state.stop = None;
            }
            state.prove(|_| true) || was_troubled
        });
    }

    /// No customer waits for a push, so none will prove the lane: closes one that is half-open.
    pub(crate) fn has_nothing_to_prove(&self) {
        self.state.send_if_modified(|state| state.prove(|_| true));
    }

    /// Lets the pushes go on, half-open. After a trouble the first of them are on trial: one that fails alike stops
    /// the lane again.
    pub fn resume(&self) {
        self.state.send_if_modified(|state| {
            let stop = state.stop.take();
            let was_stopped = stop.is_some();
            // Before its first push nothing has failed.
            let failed = stop.filter(|stop| stop.code != code::STARTING);
            state.unproven = failed.or(state.unproven.take());
            was_stopped
        });
    }

    pub fn stopped(&self) -> Option<String> {
        let state = self.state.borrow();
        state.stop.as_ref().map(|stop| stop.reason.clone())
    }

    /// Whether a response did not match its request, and no push has succeeded since.
    pub(crate) fn has_mismatch(&self) -> bool {
        self.state.borrow().has_mismatch
    }

    /// The word for why it is stopped in metrics.
    pub(crate) fn why_stopped(&self) -> Option<&'static str> {
        let state = self.state.borrow();
        state.stop.as_ref().map(Stop::why)
    }

    pub(crate) fn is_half_open(&self) -> bool {
        let state = self.state.borrow();
        state.stop.is_none() && state.unproven.is_some()
    }

    /// What to report while it is open or half-open.
    pub fn problem(&self) -> Option<Problem> {
        let state = self.state.borrow();
        let stop = state.stop.as_ref().or(state.unproven.as_ref())?;
        let next_try = state.stop.as_ref().map(|stop| stop.next_try);
        let problem = Problem::new(&stop.reason).code(stop.code);
        let problem = problem.next_try(next_try);
        // Every start begins so.
        Some(match stop.code {
            code::STARTING => problem.unlogged(),
            _ => problem,
        })
    }

    /// A problem of the reads. While the breaker is open it has been logged as the breaker's.
    pub(crate) fn problem_of_reads(&self, detail: String) -> Problem {
        let problem = Problem::new(detail);
        match self.stopped() {
            Some(_) => problem.unlogged(),
            None => problem,
        }
    }

    /// When a stopped lane is tried next.
    pub fn next_try(&self) -> Option<Instant> {
        let state = self.state.borrow();
        state.stop.as_ref().map(|stop| stop.next_try)
    }

    /// Whether it stands still long enough to be tried.
    pub fn is_rested(&self) -> bool {
        self.next_try().is_some_and(|at| at <= Instant::now())
    }

    /// Resolves once the lane runs, at once if it does.
    pub async fn running(&self) {
        let mut state = self.state.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = state.wait_for(|state| state.stop.is_none()).await;
    }

    /// Resolves at the next change from now on.
    pub(crate) fn next_change(&self) -> impl Future<Output = ()> + use<> {
        let mut state = self.state.subscribe();
        async move {
            // It ends with the last clone of the lane, and so does whoever waits.
            let _ = state.changed().await;
        }
    }

    fn set(&self, stop: Stop) {
        self.state.send_modify(|state| state.halt(stop));
    }
}

impl State {
    fn halt(&mut self, mut stop: Stop) {
        let known = self.stop.take().or(self.unproven.take());
        let known = known.filter(|known| known.code == stop.code && known.trouble == stop.trouble);
        // A lane that was tried in vain has not stopped anew, and its first reason says since when.
        match known {
            Some(known) if stop.trouble == Some(Trouble::Away) => stop.reason = known.reason,
            Some(_) => {}
            None => {
                metrics::counter!("upsync_lane_stops_total", "why" => stop.why()).increment(1);
            }
        }
        self.stop = Some(stop);
    }

    /// Closes a half-open lane if `is_over` says so of what it was open for; returns whether it did.
    fn prove(&mut self, is_over: impl FnOnce(&Stop) -> bool) -> bool {
        self.unproven.take_if(|stop| is_over(stop)).is_some()
    }
}

impl Stop {
    fn why(&self) -> &'static str {
        match self.trouble {
            None => "setting",
            Some(Trouble::Away) => "away",
            Some(Trouble::Refused { .. }) => "refused",
            Some(Trouble::Mismatched) => "mismatched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(lane: &LaneState) -> bool {
        lane.failed(Uuid::new_v4(), Trouble::Away, || "away".to_owned())
    }

    fn stopped_by_many() -> LaneState {
        let lane = LaneState::default();
        for _ in 1..ENOUGH {
            assert!(!away(&lane));
        }
        assert_eq!(lane.stopped(), None);
        assert!(away(&lane));
        assert_eq!(lane.stopped().as_deref(), Some("away"));
        lane
    }

    #[tokio::test]
    async fn a_stopped_lane_says_why_and_waits_until_it_is_resumed() {
        let lane = LaneState::default();
        lane.running().await;
        lane.stop("the key is refused");
        assert_eq!(lane.stopped().as_deref(), Some("the key is refused"));
        let waiting = {
            let lane = lane.clone();
            async move { lane.running().await }
        };
        let (resumed, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(5), waiting),
            async { lane.resume() }
        );
        resumed.unwrap();
        assert_eq!(lane.stopped(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_is_away_rests_and_is_stopped_again_by_the_first_that_fails_alike() {
        let lane = stopped_by_many();
        tokio::time::advance(AWAY.cap).await;
        assert!(lane.is_rested());
        lane.resume();
        assert!(away(&lane), "it was on trial");
        lane.resume();
        lane.succeeded();
        assert!(!away(&lane), "the trial was over");
    }

    #[tokio::test]
    async fn what_was_under_way_when_the_lane_stopped_is_the_lane_s_too() {
        assert!(away(&stopped_by_many()));
    }

    #[tokio::test]
    async fn a_push_that_stripe_takes_starts_a_troubled_lane_and_no_other() {
        let lane = stopped_by_many();
        lane.succeeded();
        assert_eq!(lane.stopped(), None);
        lane.stop("the key is refused");
        lane.succeeded();
        assert!(lane.stopped().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_stays_away_keeps_saying_since_when() {
        let lane = stopped_by_many();
        for _ in 0..20 {
            lane.is_still_away(|| "away by now".to_owned());
            assert_eq!(lane.stopped().as_deref(), Some("away"));
            let next_try = lane.next_try().unwrap();
            assert!(next_try <= Instant::now() + AWAY.cap);
        }
        lane.stop("the key is refused");
        lane.is_still_away(|| "away by now".to_owned());
        assert_eq!(lane.stopped().as_deref(), Some("away by now"));
    }

    /// The reason that is reported.
    fn reported(lane: &LaneState) -> Option<Problem> {
        lane.problem().map(|problem| problem.next_try(None))
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lane_reports_its_reason_until_a_push_succeeds() {
        let lane = stopped_by_many();
        let open = reported(&lane).unwrap();
        lane.resume();
        assert_eq!(lane.stopped(), None);
        assert_eq!(reported(&lane), Some(open.clone()));
        assert!(away(&lane), "it was on trial");
        assert_eq!(reported(&lane), Some(open));
        lane.resume();
        lane.succeeded();
        assert_eq!(reported(&lane), None);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_disproves_the_reason_closes_half_open_lane() {
        let refused_key = LaneState::default();
        refused_key.stop_for(code::KEY_REFUSED, "refused");
        refused_key.resume();
        refused_key.answered(true);
        assert!(refused_key.is_half_open());
        refused_key.answered(false);
        assert!(!refused_key.is_half_open());
        let away = stopped_by_many();
        away.resume();
        away.answered(true);
        assert!(!away.is_half_open());
        let idle = stopped_by_many();
        idle.resume();
        idle.has_nothing_to_prove();
        assert_eq!(reported(&idle), None);
    }

    #[tokio::test]
    async fn lane_that_starts_well_has_nothing_to_prove() {
        let lane = LaneState::default();
        lane.hold();
        assert!(reported(&lane).is_some());
        lane.resume();
        assert_eq!(reported(&lane), None);
    }
}
