//! Unexplained duplicate calls: requests that write to Stripe what it has taken already.
//!
//! One request a push is explained, and each repetition of one whose answer may not have been noted: it was
//! disturbed itself, had no or no good answer, or something that can keep a worker from noting it was broken
//! while the answer was on its way. A request says the same as an earlier one if it has the same idempotency
//! key, or path and parameters (the stamp in them names rev, fields and values). It is explained as well if
//! the customer was changed in between, because then it is no repetition. And a key has one effect, always.

use std::collections::HashMap;

use super::Findings;
use crate::evidence::{Evidence, Request};
use crate::history::{Fault, Time};

/// How long a worker may take from an answer to the commit of what it says, on a busy machine; and how long
/// before its beginning a fault shows in what we noted of it.
pub(super) const NOTING_US: Time = 10_000_000;

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    two_effects(evidence, findings);
    let mut of_request: HashMap<&str, usize> = HashMap::new();
    let mut of_customer: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, event) in evidence.events.iter().enumerate() {
        if let Some(request) = &event.request {
            of_request.insert(request, place);
        }
        let places = of_customer.entry(&event.copy.stripe_id).or_default();
        places.push(place);
    }
    let mut before: HashMap<(&str, &str), &Request> = HashMap::new();
    for request in &evidence.requests {
        let Some(text) = request
            .parameters
            .as_deref()
            .or_else(|| says_it_all(request))
        else {
            continue;
        };
        if request.method == "GET" {
            continue;
        }
        let earlier = before.insert((&request.path, text), request);
        let Some(earlier) = earlier.filter(|it| was_noted(it, &evidence.faults)) else {
            continue;
        };
        let event = of_request.get(&*earlier.request_id).copied();
        let changed = event.is_some_and(|event| {
            let events = of_customer.get(&*evidence.events[event].copy.stripe_id);
            let last = of_request.get(&*request.request_id);
            let mut others = events.into_iter().flatten();
            others.any(|other| *other > event && last.is_none_or(|last| other < last))
        });
        if !changed {
            findings.duplicate_calls.push(format!(
                "{} {} was sent by request {} and again by {}",
                request.method, request.path, earlier.seq, request.seq
            ));
        }
    }
}

/// A delete has no parameters, and its path says it all.
fn says_it_all(request: &Request) -> Option<&str> {
    (request.method == "DELETE").then_some("")
}

/// Whether its answer reached somebody who could write it down.
fn was_noted(request: &Request, faults: &[Fault]) -> bool {
    let good = request
        .status
        .is_some_and(|status| (200..300).contains(&status));
    let Some(answered) = request
        .answered_at_us
        .filter(|_| good && request.fault.is_none())
    else {
        return false;
    };
    let (from, to) = (request.received_at_us, answered + NOTING_US);
    let disturbs = |fault: &&Fault| fault.start <= to && fault.end + NOTING_US >= from;
    !faults
        .iter()
        .filter(|it| it.harms_worker)
        .any(|it| disturbs(&it))
}

fn two_effects(evidence: &Evidence, findings: &mut Findings) {
    let mut made: HashMap<&str, usize> = HashMap::new();
    for event in &evidence.events {
        if let Some(key) = event.key.as_deref() {
            *made.entry(key).or_default() += 1;
        }
    }
    let mut twice: Vec<_> = made.into_iter().filter(|(_, count)| *count > 1).collect();
    twice.sort_unstable();
    for (key, count) in twice {
        let text = format!("the idempotency key {key} had {count} effects");
        findings.duplicate_calls.push(text);
    }
}
