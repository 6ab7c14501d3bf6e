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
/// Nobody waits for longer than this on one refusal; the next one says if it is still too early.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    Now,
    /// The first in its lane, but there is no token before then.
    At(Instant),
    /// It is the other lane's turn.
    Others,
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
        // Sums of fractions may end a hair below one.
        let missing = 1.0 - self.tokens;
        if missing > 1e-6 {
            return Turn::At(now + Duration::from_secs_f64(missing / self.rate));
        }
        self.tokens -= 1.0;
        self.turns_in_a_row = match lane {
            Lane::Upsync if other_waits => self.turns_in_a_row + 1,
            _ => 0,
        };
        Turn::Now
    }

    pub(super) fn slow_down(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.fill(now);
        if let Some(wait) = retry_after {
            let until = now + wait.min(LONGEST_PAUSE);
            self.paused_until = self.paused_until.max(Some(until));
        }
        if self.halved_at.is_some_and(|halved| now - halved < BUNCH) {
            return;
        }
        self.halved_at = Some(now);
        self.rate = (self.rate / 2.0).max(self.full_rate * FLOOR);
        self.tokens = self.tokens.min(0.0);
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
            bucket.slow_down(None, after(start, 0.5));
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
    fn refusals_without_end_leave_a_trickle() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        for bunch in 0..50_u32 {
            bucket.slow_down(None, after(start, f64::from(bunch) * 1.01));
        }
        assert!((2.0..=5.0).contains(&bucket.rate), "{}", bucket.rate);
    }

    #[test]
    fn a_pause_is_capped_and_never_cut_short() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        bucket.slow_down(Some(Duration::from_secs(86_400)), start);
        bucket.slow_down(Some(Duration::from_secs(1)), start);
        let turn = bucket.turn(Lane::Upsync, false, after(start, 2.0));
        assert_eq!(turn, Turn::At(start + LONGEST_PAUSE));
    }

    #[test]
    fn a_share_keeps_the_rate_as_far_below_the_full_one_as_it_was() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 10, start);
        bucket.slow_down(None, start);
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
