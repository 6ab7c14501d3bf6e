//! Out of order: what the relay promises to a consumer of its own.
//!
//! A rev that was written by a client is delivered at least once, and never for the first time before an
//! earlier one of the same customer. What comes again is the same as before, and may come at any time: a relay
//! that was replaced may still have sent its batch into a slow link, so runs of two relays can interleave, and
//! a consumer tells repetitions by their ids. Revs that came from Stripe are not told.

use super::{Case, Findings};
use crate::history::{Actor, State};

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let id = case.id;
    let mut newest: Option<&State> = None;
    for told in &case.told {
        let first = case.told.iter().find(|other| other.rev == told.rev);
        if first.is_some_and(|first| first != told) {
            let text = format!("{id}: rev {} came again as something else", told.rev);
            findings.out_of_order.push(text);
        }
        let seen = newest.is_some_and(|newest| newest.rev >= told.rev);
        let is_repeated = first.is_some_and(|first| !std::ptr::eq(*first, *told));
        if seen && !is_repeated {
            let newest = newest.map(|newest| newest.rev);
            let text = format!("{id}: rev {} came first after {newest:?}", told.rev);
            findings.out_of_order.push(text);
        }
        if !seen {
            newest = Some(told);
        }
    }
    for op in case.by(Actor::Client) {
        let Some(state) = op.state() else { continue };
        if !case.revs.iter().any(|told| told.rev == state.rev) {
            let text = format!("{id}: rev {} was never told", state.rev);
            findings.out_of_order.push(text);
        }
    }
}
