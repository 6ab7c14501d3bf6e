//! Where the next read starts and what it leaves out: pure, but for the time that it is told.
//!
//! Ids are given before the commit, so a row may appear below one that was read already. A read
//! therefore goes back by some ids and leaves out what it has seen, which finds nearly all of those
//! at once; and now and then one starts at the lowest id, which finds the rest, and the rows that
//! the broker did not take. Always starting there would be simpler, but it would walk over every
//! deleted row that Postgres could not clear away yet, again and again.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// How many ids a read goes back: more than are given out during one ordinary transaction.
const LOOK_BACK: i64 = 1_000;
/// The least time between two reads that start at the lowest id.
const REST: Duration = Duration::from_secs(1);
/// At most this part of the time goes into such reads, should they be slow.
const SHARE: u32 = 20;
/// The most that they are put off in order to get to the end of a long outbox.
const LONGEST_REST: Duration = Duration::from_secs(64);

#[derive(Debug)]
pub(crate) struct Cursor {
    /// The last id that was read.
    position: i64,
    /// The ids that were read within the reach of the next look back.
    seen: BTreeSet<i64>,
    /// When to start at the lowest id again.
    restart_at: Instant,
    /// The time between two restarts.
    rest: Duration,
    /// What the last restart's read took, times [`SHARE`].
    least_rest: Duration,
}

/// What a read covers.
#[derive(Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) after: i64,
    pub(crate) except: Vec<i64>,
    /// Set when it starts at the lowest id.
    restarted_at: Option<Instant>,
}

impl Range {
    pub(crate) fn is_restart(&self) -> bool {
        self.restarted_at.is_some()
    }
}

impl Cursor {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            position: 0,
            seen: BTreeSet::new(),
            restart_at: now,
            rest: REST,
            least_rest: REST,
        }
    }

    /// What to read next.
    pub(crate) fn range(&mut self, now: Instant, in_flight: &HashSet<i64>) -> Range {
        if now >= self.restart_at {
            self.seen = in_flight.iter().copied().collect();
            let except = self.seen.iter().copied().collect();
            return Range {
                after: i64::MIN,
                except,
                restarted_at: Some(now),
            };
        }
        let after = self.position.saturating_sub(LOOK_BACK);
        self.seen = self.seen.split_off(&after.saturating_add(1));
        Range {
            after,
            except: self.seen.iter().copied().collect(),
            restarted_at: None,
        }
    }

    /// Takes note of what a read brought. `full` means that it brought as many as it was allowed
    /// to.
    pub(crate) fn advance(&mut self, range: Range, ids: &[i64], full: bool, now: Instant) {
        self.seen.extend(ids);
        let last = ids.last().copied().unwrap_or(i64::MIN);
        if let Some(started) = range.restarted_at {
            self.least_rest = REST.max(SHARE * now.saturating_duration_since(started));
            self.restart_at = now + self.rest.max(self.least_rest);
            // Not all the way to the end: the next restart must leave the time to get further, or a
            // heap of rows that the broker does not take would keep it from what lies behind them.
            self.rest = (2 * self.rest).min(LONGEST_REST);
        }
        self.position = match range.restarted_at {
            Some(_) if full => last,
            _ => self.position.max(last),
        };
        if !full {
            self.rest = REST;
            self.restart_at = self.restart_at.min(now + self.least_rest);
        }
    }

    /// Starts no read at the lowest id before `until`.
    pub(crate) fn put_off(&mut self, until: Instant) {
        self.restart_at = self.restart_at.max(until);
    }

    /// Makes the next read start at the lowest id.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.restart_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor that read `ids` from the lowest on, all there was, and the time of that.
    fn after_reading(ids: &[i64]) -> (Cursor, Instant) {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        let range = cursor.range(now, &HashSet::new());
        assert_eq!(range.after, i64::MIN);
        cursor.advance(range, ids, false, now);
        (cursor, now)
    }

    #[test]
    fn a_read_goes_back_and_leaves_out_what_was_read() {
        let (mut cursor, now) = after_reading(&[3, 2_000, 2_002]);
        let range = cursor.range(now, &HashSet::new());
        assert_eq!((range.after, range.except), (1_002, vec![2_000, 2_002]));
    }

    #[test]
    fn now_and_then_a_read_starts_at_the_lowest_id_and_leaves_out_only_what_is_in_flight() {
        let (mut cursor, now) = after_reading(&[3, 2_000, 2_002]);
        let range = cursor.range(now + REST, &HashSet::from([2_002]));
        assert_eq!((range.after, range.except), (i64::MIN, vec![2_002]));
    }

    #[test]
    fn a_restart_that_finds_only_an_old_row_keeps_the_position() {
        let (mut cursor, now) = after_reading(&[9_000]);
        let range = cursor.range(now + REST, &HashSet::new());
        cursor.advance(range, &[5], false, now + REST);
        assert_eq!(cursor.range(now + REST, &HashSet::new()).after, 8_000);
    }

    #[test]
    fn a_restart_into_a_long_outbox_goes_on_from_there() {
        let (mut cursor, now) = after_reading(&[9_000]);
        let range = cursor.range(now + REST, &HashSet::new());
        cursor.advance(range, &[4_500, 5_000], true, now + REST);
        let range = cursor.range(now + REST, &HashSet::new());
        assert_eq!((range.after, range.except), (4_000, vec![4_500, 5_000]));
    }

    #[test]
    fn a_heap_that_the_broker_does_not_take_leaves_more_and_more_time_for_what_lies_behind_it() {
        let mut now = Instant::now();
        let mut cursor = Cursor::new(now);
        let mut rests = Vec::new();
        for _ in 0..3 {
            let range = cursor.range(now, &HashSet::new());
            cursor.advance(range, &[1, 2], true, now);
            rests.push(cursor.restart_at - now);
            now = cursor.restart_at;
        }
        assert_eq!(rests, [REST, 2 * REST, 4 * REST]);
        // At the end of the outbox it goes back to the usual pace.
        let range = cursor.range(now, &HashSet::new());
        cursor.advance(range, &[1, 2], false, now);
        assert_eq!(cursor.restart_at - now, REST);
    }

    #[test]
    fn slow_restarts_are_rare() {
        let now = Instant::now();
        let mut cursor = Cursor::new(now);
        let range = cursor.range(now, &HashSet::new());
        let read_at = now + Duration::from_millis(500);
        cursor.advance(range, &[1], false, read_at);
        assert_eq!(cursor.restart_at - read_at, Duration::from_secs(10));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut cursor, now) = after_reading(&[]);
        for start in (0..1_000_000).step_by(500) {
            let range = cursor.range(now, &HashSet::new());
            let ids: Vec<_> = (start..start + 500).collect();
            cursor.advance(range, &ids, true, now);
        }
        assert!(cursor.range(now, &HashSet::new()).except.len() <= 1_000);
    }
}
