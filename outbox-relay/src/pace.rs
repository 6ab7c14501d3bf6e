//! How long to wait after a step, by what it brought.

use std::time::Duration;

use platform::backoff::Backoff;

use crate::Counts;

/// After a failed step, and before what the broker did not take is tried again.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(10),
};
/// After a step of which nothing was taken, on the way to rows that may fare better.
const ASIDE: Backoff = Backoff {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(1),
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// The next batch is at hand.
    No,
    /// There is nothing to do until somebody writes.
    ForRows,
    /// The broker or the database is away.
    For(Duration),
    /// The broker took nothing of a batch. Others may fare better, so they are tried after a short
    /// pause, and these again after a longer one.
    Aside { pause: Duration, retry: Duration },
}

/// What is remembered of the last steps.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Steps in a row that failed.
    failures: u32,
    /// Steps since the last confirm that published something.
    fruitless: u32,
}

impl Pace {
    pub(crate) fn after(&mut self, counts: &Counts) -> Wait {
        self.failures = 0;
        if counts.confirmed > 0 {
            self.fruitless = 0;
        } else if counts.read > 0 {
            self.fruitless += 1;
            return self.after_nothing(counts);
        }
        if counts.more { Wait::No } else { Wait::ForRows }
    }

    pub(crate) fn after_error(&mut self) -> Wait {
        self.failures += 1;
        Wait::For(BACKOFF.jittered(self.failures))
    }

    fn after_nothing(&self, counts: &Counts) -> Wait {
        let retry = BACKOFF.jittered(self.fruitless);
        if counts.unknown > 0 {
            return Wait::For(retry);
        }
        Wait::Aside {
            pause: ASIDE.jittered(self.fruitless),
            retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(read: usize, confirmed: usize) -> Counts {
        Counts {
            read,
            confirmed,
            ..Counts::default()
        }
    }

    #[test]
    fn while_there_is_more_it_does_not_wait() {
        let more = Counts {
            more: true,
            ..published(10, 10)
        };
        assert_eq!(Pace::default().after(&more), Wait::No);
        assert_eq!(Pace::default().after(&published(10, 10)), Wait::ForRows);
        assert_eq!(Pace::default().after(&published(0, 0)), Wait::ForRows);
    }

    #[test]
    fn one_confirm_is_enough_to_go_on() {
        assert_eq!(Pace::default().after(&published(10, 1)), Wait::ForRows);
    }

    #[test]
    fn what_is_not_taken_is_set_aside_and_what_is_unknown_stops_everything() {
        let refused = Pace::default().after(&published(10, 0));
        assert!(matches!(refused, Wait::Aside { .. }), "{refused:?}");
        let unknown = Counts {
            unknown: 1,
            ..published(10, 0)
        };
        let unknown = Pace::default().after(&unknown);
        assert!(matches!(unknown, Wait::For(_)), "{unknown:?}");
    }

    #[test]
    fn pauses_grow_up_to_their_bounds_and_start_anew_after_a_confirm() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            let Wait::For(pause) = pace.after_error() else {
                panic!("an error is waited out");
            };
            assert!(pause <= BACKOFF.cap);
        }
        for _ in 0..50 {
            let Wait::Aside { pause, retry } = pace.after(&published(1, 0)) else {
                panic!("what is not taken is set aside");
            };
            assert!(pause <= ASIDE.cap && retry <= BACKOFF.cap);
        }
        // An empty step proves nothing about what the broker did not take.
        pace.after(&published(0, 0));
        assert_eq!((pace.failures, pace.fruitless), (0, 50));
        pace.after(&published(1, 1));
        assert_eq!(pace.fruitless, 0);
    }
}
