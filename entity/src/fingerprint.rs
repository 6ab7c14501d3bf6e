//! What Stripe shows of a customer while it has nothing new to say, in 8 bytes. Those of many customers are compared by
//! their sum, whatever their order: a full pass asks the database for one number for some thousand of them.
//!
//! The start of a SHA-256: of two sums over customers that differ, one in 2^64 pairs is equal by chance.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::fields::{Field, Fields};
use crate::parked::Reason;

/// Nothing is expected: Stripe shows no such customer, or one that we have let go of.
pub const NOTHING: i64 = 0;

/// Values in canonical form, in the order of [`Field::ALL`].
pub type Values<'a> = [Option<Cow<'a, str>>; 4];

/// Of a customer that Stripe shows, and that is not deleted.
pub fn of_shown(stripe_id: &str, values: &Values<'_>, is_detached: bool) -> i64 {
    if is_detached {
        NOTHING
    } else {
        of(stripe_id, Some(values))
    }
}

/// Of what a link says of its customer.
pub fn of_link(
    stripe_id: Option<&str>,
    base: Option<&Fields>,
    parked: Option<Reason>,
    is_detached: bool,
) -> i64 {
    let Some(stripe_id) = stripe_id else {
        return NOTHING;
    };
    match parked {
        _ if is_detached => NOTHING,
        Some(Reason::DeletedInStripe) => NOTHING,
        // Any copy says something new, and so does none.
        Some(reason) if reason.is_by_copy() => of(stripe_id, None),
        _ => of(stripe_id, base.map(borrowed).as_ref()),
    }
}

fn borrowed(fields: &Fields) -> Values<'_> {
    Field::ALL.map(|field| fields.get(field).map(Cow::Borrowed))
}

/// Of values; `None` stands for those that no copy has.
fn of(stripe_id: &str, values: Option<&Values<'_>>) -> i64 {
    let mut hash = Sha256::new();
    let mut add = |text: Option<&str>| match text {
        // No text of Unicode has this byte in it.
        Some(text) => {
            hash.update(text.as_bytes());
            hash.update([0xff]);
        }
        None => hash.update([0xfe]),
    };
    add(Some(stripe_id));
    for value in values.into_iter().flatten() {
        add(value.as_deref());
    }
    let hash = hash.finalize();
    i64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

/// A sum, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(i64);

impl Sum {
    /// From the sums of the upper and of the lower halves: a database adds those up without an overflow.
    pub fn of_halves(upper: i64, lower: i64) -> Self {
        Self((upper << 32).wrapping_add(lower))
    }
}

impl FromIterator<i64> for Sum {
    fn from_iter<I: IntoIterator<Item = i64>>(fingerprints: I) -> Self {
        Self(fingerprints.into_iter().fold(0, i64::wrapping_add))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(values: [Option<&str>; 4]) -> Fields {
        let mut fields = Fields::default();
        for (field, value) in Field::ALL.into_iter().zip(values) {
            fields.set(field, value.map(str::to_owned));
        }
        fields
    }

    fn of(stripe_id: &str, fields: Option<&Fields>) -> i64 {
        super::of(stripe_id, fields.map(borrowed).as_ref())
    }

    fn all_different(values: &[i64]) -> bool {
        let distinct: std::collections::HashSet<_> = values.iter().collect();
        distinct.len() == values.len()
    }

    #[test]
    fn one_value_cannot_pass_for_another_or_for_its_neighbour() {
        let a = Some("a");
        let several = [
            [None; 4],
            [a, None, None, None],
            [None, a, None, None],
            [a, a, None, None],
            [Some("aa"), None, None, None],
            [Some("a\u{fe}"), None, None, None],
        ];
        let mut found: Vec<i64> = several
            .iter()
            .map(|values| of("cus_1", Some(&fields(*values))))
            .collect();
        found.push(of("cus_1", None));
        found.push(of("cus_1a", None));
        found.push(of("cus_2", Some(&fields([None; 4]))));
        found.push(NOTHING);
        assert!(all_different(&found), "{found:?}");
    }

    #[test]
    fn it_stays_what_it_was_when_it_was_stored() {
        let values = fields([Some("bob@x.com"), Some("Bob"), None, None]);
        assert_eq!(of("cus_1", Some(&values)), -1_003_168_517_631_344_306);
    }

    #[test]
    fn a_link_expects_nothing_of_a_customer_that_is_gone_and_no_copy_of_one_that_a_copy_has_parked()
    {
        let base = fields([Some("bob@x.com"), None, None, None]);
        let link = |parked, is_detached| of_link(Some("cus_1"), Some(&base), parked, is_detached);
        let plain = link(None, false);
        assert_eq!(of_link(None, Some(&base), None, false), NOTHING);
        assert_eq!(link(None, true), NOTHING);
        for reason in Reason::ALL {
            let fingerprint = link(Some(reason), false);
            if reason == Reason::DeletedInStripe {
                assert_eq!(fingerprint, NOTHING);
            } else {
                assert_ne!(fingerprint, NOTHING, "{reason:?}");
                assert_eq!(fingerprint != plain, reason.is_by_copy(), "{reason:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_sum_of_halves_is_the_sum(fingerprints in proptest::collection::vec(any::<i64>(), 0..50)) {
            let upper = fingerprints.iter().map(|one| one >> 32).sum();
            let lower = fingerprints.iter().map(|one| one & 0xffff_ffff).sum();
            let sum: Sum = fingerprints.iter().copied().collect();
            prop_assert_eq!(Sum::of_halves(upper, lower), sum);
            let backwards: Sum = fingerprints.into_iter().rev().collect();
            prop_assert_eq!(backwards, sum);
        }
    }
}
