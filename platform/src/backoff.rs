//! How long to wait before the next attempt: pure functions of the attempt and a random number.

use std::time::Duration;

/// Exponential backoff with full jitter: anything from nothing to `first * 2^(attempt - 1)`, never
/// above `cap`.
///
/// Full jitter, because callers that failed together would otherwise come back together
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub first: Duration,
    /// The bound of every wait.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after the failed attempt number `attempt`, counted from 1, for a random number in
    /// 0..1.
    pub fn delay(&self, attempt: u32, random_unit: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let bound = self.first.saturating_mul(1 << doublings).min(self.cap);
        bound.mul_f64(random_unit.clamp(0.0, 1.0))
    }

    /// `delay` with a random number of its own.
    pub fn jittered(&self, attempt: u32) -> Duration {
        self.delay(attempt, rand::random())
    }
}

/// `base`, give or take up to 20 %, so that polls of several processes don't fall together.
pub fn jitter(base: Duration) -> Duration {
    base.mul_f64(rand::random_range(0.8..=1.2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        cap: Duration::from_secs(10),
    };

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds: Vec<_> = (1..=9).map(|attempt| BACKOFF.delay(attempt, 1.0)).collect();
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
        assert_eq!(bounds, expected.map(Duration::from_millis));
        assert_eq!(BACKOFF.delay(0, 1.0), BACKOFF.first);
        assert_eq!(BACKOFF.delay(4, 0.5), Duration::from_millis(400));
        assert_eq!(BACKOFF.delay(4, 0.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_cap(
            attempt: u32,
            random in 0.0..1.0,
            first_ms: u64,
            cap_s: u32,
        ) {
            let cap = Duration::from_secs(cap_s.into());
            let backoff = Backoff { first: Duration::from_millis(first_ms), cap };
            prop_assert!(backoff.delay(attempt, random) <= cap);
            prop_assert!(backoff.jittered(attempt) <= cap);
        }

        #[test]
        fn jitter_stays_within_a_fifth(base_ms in 0_u64..100_000_000) {
            let base = Duration::from_millis(base_ms);
            let jittered = jitter(base);
            prop_assert!(jittered >= base.mul_f64(0.799) && jittered <= base.mul_f64(1.201));
        }
    }
}
