//! A range of Stripe's customers by the second in which they were made. Pure.

use serde::{Deserialize, Serialize};

/// No customer of Stripe's is older: 1 January 2010, in Unix seconds. Only where a slice is divided depends on it.
const OLDEST: i64 = 1_262_304_000;

/// Unix seconds, both ends included. The extreme values stand for no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slice {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Slice {
    pub(super) const ALL: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    /// The `created[gte]` to ask for.
    pub(super) fn gte(self) -> Option<i64> {
        (self.from != i64::MIN).then_some(self.from)
    }

    /// The `created[lte]` to ask for.
    pub(super) fn lte(self) -> Option<i64> {
        (self.to != i64::MAX).then_some(self.to)
    }

    /// Halves, by time, what is left of a slice that was read down to the second `reached`: the older half, and
    /// the rest, in which that second is. `None` where nothing lies between.
    pub(super) fn halve(self, reached: i64) -> Option<(Self, Self)> {
        let floor = self.from.max(OLDEST);
        if reached <= floor || reached > self.to {
            return None;
        }
        let middle = floor + (reached - floor) / 2;
        let older = Self { to: middle, ..self };
        let rest = Self {
            from: middle + 1,
            ..self
        };
        Some((older, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_halved_below_the_second_that_was_reached() {
        let slice = Slice {
            from: i64::MIN,
            to: OLDEST + 1_000,
        };
        let (older, rest) = slice.halve(OLDEST + 100).unwrap();
        assert_eq!((older.from, older.to), (i64::MIN, OLDEST + 50));
        assert_eq!((rest.from, rest.to), (OLDEST + 51, OLDEST + 1_000));
        assert_eq!(older.gte(), None);
        assert_eq!(rest.gte(), Some(OLDEST + 51));
    }

    #[test]
    fn one_second_has_no_halves() {
        let slice = Slice {
            from: OLDEST + 7,
            to: OLDEST + 9,
        };
        assert_eq!(slice.halve(OLDEST + 7), None);
        let (older, rest) = slice.halve(OLDEST + 8).unwrap();
        assert_eq!((older.to, rest.from), (OLDEST + 7, OLDEST + 8));
    }
}
