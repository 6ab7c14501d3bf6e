//! The token bucket itself: numbers only, with the time handed in.

use std::time::Duration;

use tokio::time::Instant;

use super::Lane;

/// How many turns in a row [`Lane::Upsync`] takes while [`Lane::Downsync`] waits.
const TURNS_IN_A_ROW: u32 = 9;
/// Stripe's refusals come in bunches, for everything that was under way: one bunch halves once.
const BUNCH: Duration = Duration::from_secs(1);
/// What is won back each second after a halving, as a part of the full rate.
const RECOVERY: f64 = 0.02;
/// The rate never falls below this part of the full rate: it must be found out when it is over.
const FLOOR: f64 = 0.02;
/// Requests at a time while Stripe has not complained: more than a worker ever makes.
const AT_ONCE: f64 = 64.0;
/// Nobody waits for longer than this on one refusal; the next one says if it is still too early.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    Now,
    /// The first in its lane, but there is no token before then.
    At(Instant),
    /// As many as Stripe lets us have at a time are under way.
    Full,
    /// It is the other lane's turn.
    Others,
}

/// What Stripe refused as too much, by its `Stripe-Rate-Limited-Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMuch {
    /// Requests a second: `global-rate`, `endpoint-rate`, and whatever is not named.
    Often,
    /// Requests at a time: `global-concurrency`, `endpoint-concurrency`.
    AtOnce,
}

impl TooMuch {
    /// None for `resource-specific`: one object that is in demand says nothing of the others.
    pub(crate) fn of(reason: Option<&str>) -> Option<Self> {
        match reason {
            Some("resource-specific") => None,
            Some("global-concurrency" | "endpoint-concurrency") => Some(Self::AtOnce),
            _ => Some(Self::Often),
        }
    }
}

/// Who goes next, and when.
pub(super) struct Bucket {
    configured: f64,
    configured_burst: u32,
    /// This process's share of what is configured.
    full_rate: f64,
    burst: f64,
    /// What is let through now.
    rate: f64,
    tokens: f64,
    /// Requests under way, and how many may be.
    under_way: u32,
    at_once: f64,
    filled_at: Instant,
    halved_at: Option<Instant>,
    paused_until: Option<Instant>,
    /// Upsync's turns since Downsync began to wait.
    turns_in_a_row: u32,
}

impl Bucket {
    pub(super) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        let burst = burst.max(1);
        Self {
            configured: rate,
            configured_burst: burst,
            full_rate: rate,
            burst: f64::from(burst),
            rate,
            tokens: f64::from(burst),
            under_way: 0,
            at_once: AT_ONCE,
            filled_at: now,
            halved_at: None,
            paused_until: None,
            turns_in_a_row: 0,
        }
    }

    pub(super) fn turn(&mut self, lane: Lane, other_waits: bool, now: Instant) -> Turn {
        let yields = match lane {
            Lane::Upsync => other_waits && self.turns_in_a_row >= TURNS_IN_A_ROW,
            Lane::Downsync => other_waits && self.turns_in_a_row < TURNS_IN_A_ROW,
        };
        if yields {
            return Turn::Others;
        }
        self.fill(now);
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Turn::At(until);
        }
        if f64::from(self.under_way) + 1.0 > self.at_once.max(1.0) {
            return Turn::Full;
        }
        // Sums of fractions may end a hair below one.
        let missing = 1.0 - self.tokens;
        if missing > 1e-6 {
            return Turn::At(now + Duration::from_secs_f64(missing / self.rate));
        }
        self.tokens -= 1.0;
        self.under_way += 1;
        self.turns_in_a_row = match lane {
            Lane::Upsync if other_waits => self.turns_in_a_row + 1,
            _ => 0,
        };
        Turn::Now
    }

    /// A request has ended.
    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(super) fn rate_now(&mut self, now: Instant) -> f64 {
        self.fill(now);
        self.rate
    }

    pub(super) fn slow_down(
        &mut self,
        too_much: TooMuch,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        self.fill(now);
        if let Some(wait) = retry_after {
            let until = now + wait.min(LONGEST_PAUSE);
            self.paused_until = self.paused_until.max(Some(until));
        }
        if self.halved_at.is_some_and(|halved| now - halved < BUNCH) {
            return;
        }
        self.halved_at = Some(now);
        match too_much {
            TooMuch::Often => {
                self.rate = (self.rate / 2.0).max(self.full_rate * FLOOR);
                self.tokens = self.tokens.min(0.0);
            }
            // The refused one is still among those under way.
            TooMuch::AtOnce => {
                let at_once = self.at_once.min(f64::from(self.under_way));
                self.at_once = (at_once / 2.0).max(1.0);
            }
        }
    }

    pub(super) fn set_share(&mut self, workers: u32, now: Instant) {
        self.fill(now);
        let workers = workers.max(1);
        let full_rate = self.configured / f64::from(workers);
        // A rate that was halved stays as far below the full one as it was.
        self.rate *= full_rate / self.full_rate;
        self.full_rate = full_rate;
        self.burst = f64::from((self.configured_burst / workers).max(1));
        self.tokens = self.tokens.min(self.burst);
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.duration_since(self.filled_at).as_secs_f64();
        let recovered = self.rate + self.full_rate * RECOVERY * seconds;
        let rate = recovered.min(self.full_rate);
        self.tokens = (self.tokens + (self.rate + rate) / 2.0 * seconds).min(self.burst);
        self.rate = rate;
        self.at_once = (self.at_once + AT_ONCE * RECOVERY * seconds).min(AT_ONCE);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn one_bunch_of_refusals_halves_once_and_the_rate_recovers_step_by_step() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        for _ in 0..20 {
            bucket.slow_down(TooMuch::Often, None, after(start, 0.5));
        }
        assert!((bucket.rate - 50.0).abs() < 1e-9, "{}", bucket.rate);
        assert!(bucket.tokens <= 0.0, "the burst is gone too");
        bucket.fill(after(start, 5.5));
        assert!((bucket.rate - 60.0).abs() < 1e-6, "{}", bucket.rate);
        bucket.fill(after(start, 60.0));
        assert!(
            (bucket.rate - 100.0).abs() < 1e-9,
            "never above the full rate"
        );
    }

    #[test]
    fn too_many_at_once_halve_what_is_under_way_and_not_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 20, start);
        for _ in 0..8 {
            assert_eq!(bucket.turn(Lane::Upsync, false, start), Turn::Now);
        }
        bucket.slow_down(TooMuch::AtOnce, None, start);
        assert!((bucket.rate - 100.0).abs() < 1e-9);
        for under_way in (4..8).rev() {
            assert_eq!(bucket.turn(Lane::Upsync, false, start), Turn::Full);
            bucket.end();
            assert_eq!(bucket.under_way, under_way);
        }
        assert_eq!(bucket.turn(Lane::Upsync, false, start), Turn::Full);
        bucket.end();
        assert_eq!(bucket.turn(Lane::Upsync, false, start), Turn::Now);
        // Won back step by step.
        bucket.fill(after(start, 60.0));
        assert!((bucket.at_once - AT_ONCE).abs() < 1e-9);
    }

    #[test]
    fn one_request_at_a_time_is_always_let_through() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 20, start);
        for bunch in 0..20 {
            bucket.slow_down(TooMuch::AtOnce, None, after(start, f64::from(bunch) * 1.01));
        }
        let turn = bucket.turn(Lane::Upsync, false, after(start, 20.0));
        assert_eq!(turn, Turn::Now);
    }

    #[test]
    fn each_reason_of_stripes_slows_down_what_it_is_about() {
        let often = Some(TooMuch::Often);
        let at_once = Some(TooMuch::AtOnce);
        for (reason, expected) in [
            (Some("global-rate"), often),
            (Some("endpoint-rate"), often),
            (None, often),
            (Some("a-reason-of-tomorrow"), often),
            (Some("global-concurrency"), at_once),
            (Some("endpoint-concurrency"), at_once),
            (Some("resource-specific"), None),
        ] {
            assert_eq!(TooMuch::of(reason), expected, "{reason:?}");
        }
    }

    #[test]
    fn refusals_without_end_leave_a_trickle() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        for bunch in 0..50_u32 {
            bucket.slow_down(TooMuch::Often, None, after(start, f64::from(bunch) * 1.01));
        }
        assert!((2.0..=5.0).contains(&bucket.rate), "{}", bucket.rate);
    }

    #[test]
    fn a_pause_is_capped_and_never_cut_short() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        bucket.slow_down(TooMuch::Often, Some(Duration::from_secs(86_400)), start);
        bucket.slow_down(TooMuch::Often, Some(Duration::from_secs(1)), start);
        let turn = bucket.turn(Lane::Upsync, false, after(start, 2.0));
        assert_eq!(turn, Turn::At(start + LONGEST_PAUSE));
    }

    #[test]
    fn a_share_keeps_the_rate_as_far_below_the_full_one_as_it_was() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        bucket.slow_down(TooMuch::Often, None, start);
        bucket.set_share(4, start);
        assert!((bucket.rate - 12.5).abs() < 1e-9, "{}", bucket.rate);
        bucket.set_share(0, start);
        assert!(
            (bucket.rate - 50.0).abs() < 1e-9,
            "nobody counts as one worker"
        );
    }

    #[test]
    fn time_that_stands_still_makes_no_tokens() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 1, start);
        assert_eq!(bucket.turn(Lane::Upsync, false, start), Turn::Now);
        for _ in 0..100 {
            assert!(matches!(
                bucket.turn(Lane::Upsync, false, start),
                Turn::At(_)
            ));
        }
    }
}
