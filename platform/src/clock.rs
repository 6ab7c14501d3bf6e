//! The clock that loops read and rules are given: the system's, or one that a test moves by hand.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Tells the time of day. Clones of a manual clock are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands at `start` until it is advanced.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Kind::Manual(Arc::new(Mutex::new(start))))
    }

    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Kind::System => Utc::now(),
            Kind::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On the system's clock, which nobody here can move.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Kind::System => panic!("only a manual clock can be advanced"),
            Kind::Manual(time) => *time.lock().unwrap_or_else(PoisonError::into_inner) += by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced_and_its_clones_with_it() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let same = clock.clone();
        assert_eq!(same.now(), DateTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(7));
        assert_eq!(same.now().timestamp(), 7);
    }
}
