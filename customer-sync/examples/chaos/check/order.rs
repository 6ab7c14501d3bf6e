//! Out of order: what the relay promises to a consumer of its own.
//!
//! Every rev of a customer, whoever made it, is delivered at least once, and never for the first time before an
//! earlier one. What comes again is the same as before, and may come at any time: a relay that was replaced may
//! still have sent its window into a slow link, so runs of two relays can interleave, and a consumer tells
//! repetitions by their revs.

use std::collections::BTreeSet;

use super::{Case, Findings};

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let id = case.id;
    for told in &case.told {
        let first = case.told.iter().find(|other| other.rev == told.rev);
        if first.is_some_and(|first| first != told) {
            let text = format!("{id}: rev {} came again as something else", told.rev);
            findings.out_of_order.push(text);
        }
    }
    let mut heard = BTreeSet::new();
    for rev in &case.heard {
        let newest = heard.last().copied();
        if heard.insert(*rev) && newest > Some(*rev) {
            let text = format!("{id}: rev {rev} came first after {newest:?}");
            findings.out_of_order.push(text);
        }
    }
    let last = case.row.map_or(0, |row| row.state.rev);
    for rev in (1..=last).filter(|rev| !heard.contains(rev)) {
        let text = format!("{id}: rev {rev} was never told");
        findings.out_of_order.push(text);
    }
}
