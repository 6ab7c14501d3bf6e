//! The limiter at the door: so many requests a second for the whole account, as Stripe's sandboxes have 25.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wire::error::Error;

/// Counts in windows of one second of real time, whatever the sandbox's clock says.
pub(crate) struct Limiter {
    per_second: u32,
    window: Mutex<(Instant, u32)>,
}

impl Limiter {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            window: Mutex::new((Instant::now(), 0)),
        }
    }

    /// Refused requests do not count.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Error> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.0) >= Duration::from_secs(1) {
            *window = (now, 0);
        }
        if window.1 >= self.per_second {
            return Err(Error::rate_limited());
        }
        window.1 += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_admits_as_many_as_it_is_told() {
        let limiter = Limiter::new(2);
        let start = Instant::now();
        let admitted = |after: u64| limiter.admit(start + Duration::from_millis(after)).is_ok();
        assert_eq!([0, 10, 20, 900].map(admitted), [true, true, false, false]);
        assert_eq!([1100, 1200, 1300].map(admitted), [true, true, false]);
    }
}
