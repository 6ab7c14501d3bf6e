//! Out of order: what the relay promises to a consumer of its own.
//!
//! Every rev of a customer, whoever made it, is delivered at least once, and never for the first time before an
//! earlier one. What comes again is the same as before, and may come at any time: a relay that was replaced may
//! still have sent its window into a slow link, so runs of two relays can interleave, and a consumer tells
//! repetitions by their revs. A restore from a dump changes the source, and then all of this begins anew.

use std::collections::BTreeSet;

use super::{Case, Findings};
use crate::evidence::epochs;

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
        // After a restore the source is another one, and what is late of the first one is told by it.
        let same_source = epochs::revs(epochs::of(*rev));
        let newest = heard.range(same_source).next_back().copied();
        if heard.insert(*rev) && newest > Some(*rev) {
            let text = format!("{id}: rev {rev} came first after {newest:?}");
            findings.out_of_order.push(text);
        }
    }
    let last = case.row.map(|row| &row.state);
    let mut next = 1;
    // Each part of the revs that was kept: told before the dump was restored, or after it.
    for (epoch, kept) in case.restored.iter().copied().chain([last]).enumerate() {
        let kept = kept.map_or(0, |state| epochs::plain(state.rev));
        for rev in next..=kept {
            let mut told = (epoch..=case.restored.len()).map(|epoch| epochs::raised(rev, epoch));
            if !told.any(|rev| heard.contains(&rev)) {
                let text = format!("{id}: rev {rev} was never told");
                findings.out_of_order.push(text);
            }
        }
        next = next.max(kept + 1);
    }
}
