//! How often the events are polled: seldom while webhooks bring them, often when they do not. Pure.
//!
//! The poll never ends, because Stripe gives a webhook up after three days and says nothing of one that it never sent.

use std::time::Duration;

use entity::stripe_event::Event;

/// A poll is never further from the next one.
const LONGEST: Duration = Duration::from_secs(600);

/// Nor further than so many times DOWNSYNC_INTERVAL.
const MOST: u32 = 60;

/// How long a webhook may take before its event counts as one that none has brought.
const GRACE_SECONDS: i64 = 30;

/// What a poll tells of the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// They bring what happens.
    Work,
    /// Something happened and none came.
    Fail,
    /// Nothing has happened.
    None,
}

/// What follows from the events that a poll found new, and from the number that it knew by webhooks. `now` is in Unix
/// seconds, and at least the time of the newest event.
///
/// This is the one place where a time of Stripe's is compared with ours. It decides how soon Stripe is looked at again
/// and nothing else: a clock of ours that is ahead costs reads, one that is behind is made good by the newest event.
pub(super) fn evidence(fresh: &[Event], by_webhook: usize, now: i64) -> Evidence {
    let is_overdue = |event: &Event| now.saturating_sub(event.created) > GRACE_SECONDS;
    if fresh.iter().any(is_overdue) {
        return Evidence::Fail;
    }
    match (fresh.is_empty(), by_webhook) {
        // Their webhooks may be on their way.
        (_, 1..) => Evidence::Work,
        (true, 0) => Evidence::None,
        // So may these, but none has come that would say so.
        (false, 0) => Evidence::Fail,
    }
}

/// The interval of the polls.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    shortest: Duration,
    interval: Duration,
}

impl Pace {
    /// Begins at `shortest`, which is DOWNSYNC_INTERVAL: of the webhooks nothing is known yet.
    pub fn new(shortest: Duration) -> Self {
        Self {
            shortest,
            interval: shortest,
        }
    }

    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The longest that it gets.
    pub fn longest(&self) -> Duration {
        LONGEST
            .min(self.shortest.saturating_mul(MOST))
            .max(self.shortest)
    }

    /// Takes in what a poll has told; true if the interval is another one now.
    pub fn learn(&mut self, evidence: Evidence) -> bool {
        let before = self.interval;
        self.interval = match evidence {
            Evidence::Work => self.interval.saturating_mul(2).min(self.longest()),
            Evidence::Fail => self.shortest,
            Evidence::None => self.interval,
        };
        self.interval != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(at: i64) -> Event {
        Event {
            id: format!("evt_{at}"),
            kind: "customer.updated".to_owned(),
            stripe_id: "cus_1".to_owned(),
            created: at,
            copy: None,
            replaced: None,
        }
    }

    #[test]
    fn webhooks_work_while_all_but_the_youngest_events_came_by_them() {
        assert_eq!(evidence(&[], 0, 1_000), Evidence::None);
        assert_eq!(evidence(&[], 3, 1_000), Evidence::Work);
        assert_eq!(evidence(&[created(970)], 3, 1_000), Evidence::Work);
        assert_eq!(
            evidence(&[created(1_000), created(969)], 3, 1_000),
            Evidence::Fail
        );
        assert_eq!(evidence(&[created(1_000)], 0, 1_000), Evidence::Fail);
    }

    #[test]
    fn the_interval_doubles_up_to_its_bound_and_falls_back_at_once() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(10 * second);
        assert!(!pace.learn(Evidence::Fail) && !pace.learn(Evidence::None));
        let mut seen = Vec::new();
        while pace.learn(Evidence::Work) {
            seen.push(pace.interval().as_secs());
        }
        assert_eq!(seen, [20, 40, 80, 160, 320, 600]);
        assert!(!pace.learn(Evidence::None));
        assert_eq!(pace.interval(), LONGEST);
        assert!(pace.learn(Evidence::Fail));
        assert_eq!(pace.interval(), 10 * second);
    }

    #[test]
    fn the_bound_follows_the_setting() {
        let longest = |shortest| Pace::new(shortest).longest();
        assert_eq!(longest(Duration::from_secs(1)), Duration::from_secs(60));
        assert_eq!(longest(Duration::from_secs(10)), Duration::from_secs(600));
        assert_eq!(longest(Duration::from_secs(60)), Duration::from_secs(600));
        assert_eq!(
            longest(Duration::from_secs(3600)),
            Duration::from_secs(3600)
        );
        let mut hourly = Pace::new(Duration::from_secs(3600));
        assert!(!hourly.learn(Evidence::Work));
    }
}
