//! Doubled and revived: one customer stays one, and what is deleted stays so.

use std::collections::{BTreeSet, HashSet};

use entity::fields::Field;

use super::{Case, Cases, Findings};
use crate::evidence::{Evidence, Happened, epochs};
use crate::history::{Actor, Kind, Op, Outcome};

pub(super) fn check(case: &Case<'_>, orphans: &HashSet<&str>, findings: &mut Findings) {
    doubled(case, orphans, findings);
    refused_and_done(case, findings);
    revived(case, orphans, findings);
}

fn doubled(case: &Case<'_>, orphans: &HashSet<&str>, findings: &mut Findings) {
    let ours = case
        .events
        .iter()
        .filter(|event| event.copy.customer == Some(case.id));
    let stripe_ids = ours.map(|event| &*event.copy.stripe_id);
    let stripe_ids: BTreeSet<_> = stripe_ids.filter(|id| !orphans.contains(id)).collect();
    if stripe_ids.len() > 1 {
        let text = format!(
            "{}: {} in Stripe: {stripe_ids:?}",
            case.id,
            stripe_ids.len()
        );
        findings.doubled.push(text);
    }
    for op in &case.ops {
        let named: BTreeSet<_> = op.named.iter().collect();
        if named.len() > 1 {
            let text = format!("{}: one Idempotency-Key made {named:?}", case.id);
            findings.doubled.push(text);
        }
    }
}

/// A client that was refused does it again, or tells its user that it was not done.
fn refused_and_done(case: &Case<'_>, findings: &mut Findings) {
    for op in case.by(Actor::Client) {
        if op.outcome != Outcome::Refused {
            continue;
        }
        // Addresses are handed on, so one that shows may be another operation's.
        let unique = op.sent.iter().filter(|(field, _)| *field != Field::Email);
        let done = unique
            .filter(|(field, value)| {
                case.revs
                    .iter()
                    .any(|told| told.fields.get(*field) == Some(value))
            })
            .count();
        if done > 0 {
            let text = format!("{}: {:?} was refused, and done", case.id, op.sent);
            findings.doubled.push(text);
        }
    }
}

fn revived(case: &Case<'_>, orphans: &HashSet<&str>, findings: &mut Findings) {
    let acked = |op: &&&Op| op.kind == Kind::Delete && op.is_acked();
    let id = case.id;
    let by_client = case
        .ops
        .iter()
        .filter(acked)
        .any(|op| op.actor == Actor::Client);
    let by_person = case
        .ops
        .iter()
        .filter(acked)
        .any(|op| op.actor == Actor::Person);
    let parked = case.row.is_some_and(|row| row.parked);
    if case.living().is_some() && (by_client || by_person && !parked) {
        findings
            .revived
            .push(format!("{id}: deleted, and the row lives"));
    }
    if let Some(grave) = case.revs.iter().find(|told| told.deleted)
        && case
            .revs
            .iter()
            .any(|told| told.rev > grave.rev && epochs::of(told.rev) == epochs::of(grave.rev))
    {
        findings
            .revived
            .push(format!("{id}: changed after it was deleted"));
    }
    let is_deleted = case.row.is_some_and(|row| row.state.deleted);
    let stripe_ids = case.events.iter().map(|it| &*it.copy.stripe_id);
    let stripe_ids: BTreeSet<_> = stripe_ids.filter(|id| !orphans.contains(id)).collect();
    for stripe_id in stripe_ids.into_iter().filter(|_| is_deleted || by_client) {
        let mut events = case.events.iter().rev();
        let latest = events.find(|event| event.copy.stripe_id == stripe_id);
        if latest.is_some_and(|event| event.happened != Happened::Deleted) && !parked {
            let text = format!("{id}: deleted, and {stripe_id} lives in Stripe");
            findings.revived.push(text);
        }
    }
}

/// What belongs to no row: a person's customers that did not come home, clients' creates without a row, and
/// customers in Stripe that nobody made.
pub(super) fn check_strangers(
    evidence: &Evidence,
    (cases, orphans): (&Cases<'_>, &HashSet<&str>),
    findings: &mut Findings,
) {
    for op in &cases.strangers {
        if op.kind != Kind::Create || !op.is_acked() {
            continue;
        }
        let email = op.sent(Field::Email);
        let lives = evidence
            .copies
            .iter()
            .any(|copy| copy.fields.email.as_deref() == email);
        let was_made = evidence.events.iter().any(|event| {
            event.happened == Happened::Created
                && event.request.is_none()
                && event.copy.fields.email.as_deref() == email
        });
        if op.actor == Actor::Client || lives || !was_made {
            findings
                .lost
                .push(format!("{email:?} was created and has no row"));
        }
    }
    let linked: BTreeSet<_> = evidence
        .rows
        .iter()
        .filter_map(|row| row.stripe_id.as_deref())
        .collect();
    for copy in &evidence.copies {
        let is_linked = linked.contains(&*copy.stripe_id);
        let is_orphan = orphans.contains(&*copy.stripe_id);
        if !is_linked && !is_orphan && copy.customer.is_some() {
            let text = format!(
                "{} lives in Stripe, names a row and is not its",
                copy.stripe_id
            );
            findings.doubled.push(text);
        }
    }
}
