//! The clock that loops read and rules are given: the system's, or one that a test moves by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// Tells the time of day, the time that has passed, and the order of moments. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
    last_moment: Arc<AtomicI64>,
}

#[derive(Clone, Debug)]
enum Kind {
    System,
    Manual(Arc<Mutex<Manual>>),
}

#[derive(Debug)]
struct Manual {
    now: DateTime<Utc>,
    monotonic: Instant,
}

impl Clock {
    pub fn system() -> Self {
        Self::new(Kind::System)
    }

    /// A clock that stands at `start` until it is advanced.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self::new(Kind::Manual(Arc::new(Mutex::new(Manual {
            now: start,
            monotonic: Instant::now(),
        }))))
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            last_moment: Arc::default(),
        }
    }

    /// The time of day. It may step, forward and back.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.kind {
            Kind::System => Utc::now(),
            Kind::Manual(manual) => lock(manual).now,
        }
    }

    /// For measuring how much time passes: no step of the time of day changes it.
    pub fn monotonic(&self) -> Instant {
        match &self.kind {
            Kind::System => Instant::now(),
            Kind::Manual(manual) => lock(manual).monotonic,
        }
    }

    /// A number above that of every earlier call, whatever the time of day does. Where this process is not the only
    /// one, the database has to count: see [`crate::moment::moment`].
    pub fn next_moment(&self) -> i64 {
        let micros = self.now().timestamp_micros();
        let next = |last: i64| Some(micros.max(last.saturating_add(1)));
        let (write, read) = (Ordering::SeqCst, Ordering::SeqCst);
        let last = self.last_moment.fetch_update(write, read, next);
        let last = last.unwrap_or_else(|last| last);
        micros.max(last.saturating_add(1))
    }

    /// From now on moments come after `known`, the last one that an earlier process has stored.
    pub fn count_moments_from(&self, known: i64) {
        self.last_moment.fetch_max(known, Ordering::SeqCst);
    }

    /// Lets time pass on a manual clock.
    ///
    /// # Panics
    /// On the system's clock, which nobody here can move.
    pub fn advance(&self, by: Duration) {
        let mut manual = self.manual_clock();
        manual.now += by;
        manual.monotonic += by;
    }

    /// Sets a manual clock forward or back: the time of day steps, and no time passes.
    ///
    /// # Panics
    /// On the system's clock, which nobody here can move.
    pub fn step(&self, by: TimeDelta) {
        self.manual_clock().now += by;
    }

    fn manual_clock(&self) -> MutexGuard<'_, Manual> {
        match &self.kind {
            Kind::System => panic!("only a manual clock can be moved"),
            Kind::Manual(manual) => lock(manual),
        }
    }
}

fn lock(manual: &Mutex<Manual>) -> MutexGuard<'_, Manual> {
    manual.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn step_changes_time_of_day_and_no_time_passes() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let before = clock.monotonic();
        clock.step(TimeDelta::seconds(-600));
        assert_eq!(clock.now().timestamp(), -600);
        assert_eq!(clock.monotonic(), before);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.monotonic() - before, Duration::from_secs(1));
    }

    #[test]
    fn moments_keep_their_order_when_the_clock_steps_back() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH + TimeDelta::days(1));
        let mut moments = vec![clock.next_moment(), clock.clone().next_moment()];
        for by in [600, -1200, 600, -86_400] {
            clock.step(TimeDelta::seconds(by));
            moments.push(clock.next_moment());
        }
        assert!(moments.is_sorted_by(|earlier, later| earlier < later));
    }

    #[test]
    fn moments_come_after_stored_ones() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        clock.count_moments_from(5_000);
        assert_eq!(clock.next_moment(), 5_001);
        clock.count_moments_from(1);
        assert_eq!(clock.next_moment(), 5_002);
    }
}
