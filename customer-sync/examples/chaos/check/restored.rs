//! What a restore from a dump excuses, and nothing else.
//!
//! Clients' writes between the beginning of the dump and the end of the restore are lost by the operator's decision,
//! but what of them has reached Stripe comes back: each may have happened or not. A person's edit in Stripe is not
//! excused, nor is a write before the dump or after the restore.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::calls::NOTING_US;
use crate::evidence::{Event, Evidence, Happened, Restore};
use crate::history::{Actor, Kind, Op, Outcome};

/// The evidence with the outcomes that still bind.
pub(super) fn excused(evidence: &Evidence) -> Cow<'_, Evidence> {
    if evidence.restores.is_empty() {
        return Cow::Borrowed(evidence);
    }
    let mut excused = evidence.clone();
    for op in &mut excused.ops {
        for restore in &evidence.restores {
            excuse(op, restore);
        }
    }
    for restore in &mut excused.restores {
        excused.conflicts.extend_from_slice(&restore.conflicts);
        let requests = evidence.requests.iter();
        let lost = requests.filter(|request| {
            let noted = request.answered_at_us.unwrap_or(request.received_at_us) + NOTING_US;
            noted >= restore.dumped && request.received_at_us < restore.restored
        });
        restore.forgotten = lost.map(|request| request.request_id.clone()).collect();
    }
    Cow::Owned(excused)
}

/// Whether the database has lost what it knew of the request that made an event. A replaced edit that had not been
/// written down yet never will be; that a worker would not have written it down goes unnoticed.
pub(super) fn is_forgotten(restores: &[Restore], event: &Event) -> bool {
    let request = event.request.as_deref();
    request.is_some_and(|request| restores.iter().any(|it| it.forgotten.contains(request)))
}

/// Stripe's customers that were made for a row, are not its, and wait for a person: the dump held the row without its
/// link, and the e-mail that they are looked for by was another one by then.
pub(super) fn orphans(evidence: &Evidence) -> HashSet<&str> {
    let made = evidence.events.iter().filter(|event| {
        event.happened == Happened::Created && is_forgotten(&evidence.restores, event)
    });
    let made = made.map(|event| &*event.copy.stripe_id);
    let is_gone = |id: &str| evidence.copies.iter().all(|copy| copy.stripe_id != id);
    let is_renamed = |id: &str| {
        let events = evidence.events.iter().filter(|it| it.copy.stripe_id == id);
        let emails = events.map(|event| event.copy.fields.email.as_deref());
        emails.collect::<HashSet<_>>().len() > 1
    };
    let linked = evidence
        .rows
        .iter()
        .filter_map(|row| row.stripe_id.as_deref());
    let linked: HashSet<_> = linked.collect();
    made.filter(|id| !linked.contains(id))
        .filter(|id| is_gone(id) || is_renamed(id) && evidence.unmatched.contains(*id))
        .collect()
}

fn excuse(op: &mut Op, restore: &Restore) {
    let is_between = op.end > restore.dumped && op.start < restore.restored;
    if op.actor != Actor::Client || !is_between {
        return;
    }
    // Its key is forgotten: a repetition is executed again, or refused for what the first one did.
    let is_repeated_after = op.kind == Kind::Create && op.end > restore.restored;
    if is_repeated_after {
        op.named.clear();
    }
    if op.is_acked() || is_repeated_after {
        op.outcome = Outcome::Unknown;
    }
}

/// Whether a restore lies between both: then the earlier one can come back from Stripe only, as an edit there, and
/// gives way to the later one.
pub(super) fn is_between(restores: &[Restore], earlier: &Op, later: &Op) -> bool {
    let mut times = restores.iter().map(|restore| restore.restored);
    times.any(|time| earlier.end <= time && time <= later.start)
}

/// The rows that took the place of lost ones: Stripe's customer is imported under a new id, and had named the old one.
pub(super) fn heirs(
    evidence: &Evidence,
    of_stripe_id: &HashMap<&str, Uuid>,
) -> HashMap<Uuid, Uuid> {
    let rows: HashSet<_> = evidence.rows.iter().map(|row| row.state.id).collect();
    let mut heirs = HashMap::new();
    for event in evidence
        .events
        .iter()
        .filter(|_| !evidence.restores.is_empty())
    {
        let lost = event.copy.customer.filter(|id| !rows.contains(id));
        let heir = of_stripe_id.get(&*event.copy.stripe_id);
        if let (Some(lost), Some(heir)) = (lost, heir) {
            heirs.insert(lost, *heir);
        }
    }
    heirs
}
