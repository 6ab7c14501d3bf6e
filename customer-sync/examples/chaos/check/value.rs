//! Lost and undone: whether each field holds, on both sides, the last value that somebody was told it has.

use entity::fields::Field;

use super::{Case, Findings, restored};
use crate::evidence::{Event, Happened, Row, epochs};
use crate::history::{Actor, Kind, Op, Outcome, State};

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for op in case.by(Actor::Client) {
        answer(case, op, findings);
    }
    let of_one_epoch = |pair: &&[&State]| epochs::of(pair[0].rev) == epochs::of(pair[1].rev);
    for pair in case.revs.windows(2).filter(of_one_epoch) {
        for field in Field::ALL {
            between(case, (pair[0], pair[1]), field, findings);
        }
    }
    let Some(row) = case.row else {
        if case.by(Actor::Client).any(Op::is_acked) {
            findings
                .lost
                .push(format!("{}: the row is not there", case.id));
        }
        return;
    };
    if row.state.deleted {
        if !was_deleted(case, row) {
            let text = format!("{}: deleted, and nobody has asked for it", case.id);
            findings.lost.push(text);
        }
        return;
    }
    for field in Field::ALL {
        at_the_end(case, row, field, findings);
    }
    both_sides(case, row, findings);
}

/// What an answer showed is what the change was, and a condition was kept.
fn answer(case: &Case<'_>, op: &Op, findings: &mut Findings) {
    let Some(state) = op.state() else {
        return;
    };
    let id = case.id;
    let told = case.revs.iter().find(|told| told.rev == state.rev);
    if told.is_some_and(|told| *told != state) {
        let text = format!("{id}: rev {} was told otherwise than answered", state.rev);
        findings.lost.push(text);
    }
    if op
        .if_match
        .is_some_and(|rev| epochs::plain(state.rev) != rev + 1)
    {
        let text = format!("{id}: rev {} was written over unseen changes", state.rev);
        findings.undone.push(text);
    }
    for (field, value) in &op.sent {
        if op.kind != Kind::Delete && state.fields.get(*field) != Some(value) {
            let text = format!("{id}: {field} was answered otherwise than sent");
            findings.lost.push(text);
        }
    }
}

/// Between two changes of clients only people may have changed what the later one did not send.
fn between(
    case: &Case<'_>,
    (before, after): (&State, &State),
    field: Field,
    findings: &mut Findings,
) {
    let (was, is) = (before.fields.get(field), after.fields.get(field));
    if was == is {
        return;
    }
    let is_sent = |op: &&Op| {
        op.kind != Kind::Delete
            && op.sent(field) == is
            && match &op.outcome {
                Outcome::Acked(state) => state.as_ref().is_some_and(|it| it.rev == after.rev),
                Outcome::Unknown => true,
                Outcome::Refused => false,
            }
    };
    if case.by(Actor::Client).any(|op| is_sent(&op)) {
        return;
    }
    let came_home =
        after.rev > before.rev + 1 && case.by(Actor::Person).any(|op| op.sent(field) == is);
    if came_home {
        return;
    }
    let (id, revs) = (case.id, (before.rev, after.rev));
    let text = format!("{id}: {field} went from {was:?} to {is:?} between revs {revs:?}");
    let is_old = case
        .revs
        .iter()
        .any(|it| it.rev < before.rev && it.fields.get(field) == is);
    if is_old {
        findings.undone.push(text);
    } else {
        findings.lost.push(text);
    }
}

fn was_deleted(case: &Case<'_>, row: &Row) -> bool {
    let asked = case
        .ops
        .iter()
        .any(|op| op.kind == Kind::Delete && op.outcome != Outcome::Refused);
    // By its address, and it had that of another customer when the request was sent.
    let told = case.revs.iter().any(|told| told.deleted);
    asked
        || told
            && case
                .by(Actor::Client)
                .all(|op| op.state() != Some(&row.state))
}

/// A write that may have set a field's last value.
#[derive(Clone, Copy)]
struct Write<'a> {
    op: &'a Op,
    /// Of a client's write that is known to have happened.
    rev: Option<i64>,
}

fn writes<'a>(case: &Case<'a>, field: Field) -> Vec<Write<'a>> {
    let ops = case.ops.iter().copied();
    let written = ops.filter(|op| {
        op.kind != Kind::Delete && op.outcome != Outcome::Refused && op.sent(field).is_some()
    });
    written
        .map(|op| Write {
            op,
            rev: match &op.outcome {
                Outcome::Acked(state) => state.as_ref().map(|state| state.rev),
                _ => appeared_at(case, field, op.sent(field)),
            },
        })
        .collect()
}

/// The last rev at which a value took the place of another one.
fn appeared_at(case: &Case<'_>, field: Field, value: Option<&str>) -> Option<i64> {
    let mut before = None;
    let mut last = None;
    for told in &case.revs {
        let now = told.fields.get(field);
        if now == value && before != Some(now) {
            last = Some(told.rev);
        }
        before = Some(now);
    }
    last
}

fn at_the_end(case: &Case<'_>, row: &Row, field: Field, findings: &mut Findings) {
    let value = row.state.fields.get(field);
    let writes = writes(case, field);
    let setters: Vec<_> = writes
        .iter()
        .filter(|write| write.op.sent(field) == value)
        .collect();
    if setters.is_empty() {
        let mut acked = writes.iter().filter(|write| write.op.is_acked());
        // A field that nobody ever wrote is empty.
        if value.is_some() || acked.any(|write| !went_with_the_customer(case, write.op)) {
            let text = format!("{}: {field} is {value:?}, which nobody wrote last", case.id);
            findings.lost.push(text);
        }
        return;
    }
    if !setters
        .iter()
        .any(|setter| is_last(case, setter, &writes, field))
    {
        let text = format!("{}: {field} is {value:?}, over something newer", case.id);
        findings.undone.push(text);
    }
}

/// Whether no acknowledged write is newer, but for those that are explained.
fn is_last(case: &Case<'_>, setter: &Write<'_>, writes: &[Write<'_>], field: Field) -> bool {
    let acked = || writes.iter().filter(|write| write.op.is_acked());
    let value = setter.op.sent(field);
    match setter.op.actor {
        Actor::Client => {
            let newest = acked().filter(|it| it.op.actor == Actor::Client);
            let newest = newest.filter_map(|it| it.rev).max();
            let is_newest = setter
                .rev
                .is_none_or(|rev| newest.is_none_or(|newest| newest <= rev));
            let is_of_before = |other: &Write<'_>| {
                other.op.actor == Actor::Client
                    && restored::is_between(case.restores, setter.op, other.op)
            };
            is_newest
                && !acked().any(is_of_before)
                && acked()
                    .filter(|other| other.op.actor == Actor::Person)
                    .filter(|other| other.op.start > setter.op.end)
                    .filter(|other| !went_with_the_customer(case, other.op))
                    .all(|other| overruled(case, field, (other.op.sent(field), value)))
        }
        Actor::Person => acked().all(|other| match other.op.actor {
            Actor::Client => other.op.start <= setter.op.end,
            Actor::Person => {
                went_with_the_customer(case, other.op)
                    || !happened_later(case, field, (other.op.sent(field), value))
            }
        }),
    }
}

/// A person has deleted what was edited there: the row waits for a decision, and this edit for nothing. The edit came
/// first, or it would have been refused.
fn went_with_the_customer(case: &Case<'_>, edit: &Op) -> bool {
    let mut deletes = case.by(Actor::Person).filter(|op| op.kind == Kind::Delete);
    edit.actor == Actor::Person && deletes.any(|op| op.is_acked() && op.stripe_id == edit.stripe_id)
}

/// A person's later edit gave way to the database's value: both had changed the field, which is written down; or the
/// edit never did anything in Stripe, or a person has replaced it there. That it gave way may be forgotten by a restore.
fn overruled(case: &Case<'_>, field: Field, (theirs, ours): (Option<&str>, Option<&str>)) -> bool {
    let is_noted = case
        .conflicts
        .iter()
        .any(|(name, value)| *name == field.as_str() && *value == theirs);
    let shows = |event: &&Event| event.copy.fields.get(field) == theirs;
    let Some(last) = case.events.iter().rposition(shows) else {
        return true;
    };
    let next = case.events.get(last + 1);
    let is_by_person = next.is_some_and(|event| event.request.is_none());
    let is_forgotten = next.is_some_and(|event| restored::is_forgotten(case.restores, event));
    is_noted || theirs == ours || is_by_person || is_forgotten
}

/// Whether Stripe took a value after another one.
fn happened_later(
    case: &Case<'_>,
    field: Field,
    (other, value): (Option<&str>, Option<&str>),
) -> bool {
    let last = |value| {
        let mut events = case.events.iter();
        events.rposition(|event| event.copy.fields.get(field) == value)
    };
    last(other) > last(value)
}

/// A living row has a living customer in Stripe that holds the same, or a person can see why not.
fn both_sides(case: &Case<'_>, row: &Row, findings: &mut Findings) {
    if row.parked {
        return;
    }
    let latest = case
        .events
        .iter()
        .rev()
        .find(|event| Some(&event.copy.stripe_id) == row.stripe_id.as_ref());
    let Some(latest) = latest else {
        findings
            .lost
            .push(format!("{}: it is not in Stripe", case.id));
        return;
    };
    if latest.happened == Happened::Deleted {
        // Told by `identity`, if somebody was told that it is deleted.
        let by_person = case.by(Actor::Person).any(|op| op.kind == Kind::Delete);
        if !by_person {
            let text = format!("{}: deleted in Stripe by nobody", case.id);
            findings.lost.push(text);
        }
        return;
    }
    for field in row.state.fields.differing(&latest.copy.fields) {
        let (here, there) = (row.state.fields.get(field), latest.copy.fields.get(field));
        let text = format!(
            "{}: {field} is {here:?} here and {there:?} in Stripe",
            case.id
        );
        findings.lost.push(text);
    }
}
