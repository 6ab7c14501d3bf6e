//! Restores from a dump: what was written between both is excused, and nothing else.

use std::collections::HashSet;

use entity::fields::Field;
use uuid::Uuid;

use super::{
    STRIPE_ID, acked, by_person, call, copy, event, fields, finds, good, grave, id, is_silent,
    state,
};
use crate::evidence::{Conflict, Evidence, Happened, Restore, Row, epochs};
use crate::history::{Kind, Op, Outcome, State};

/// Before n2 is written, which is at 200.
const DUMPED: u64 = 150;
const RESTORED: u64 = 350;

/// A state after the restore.
fn after(rev: i64, name: &str) -> State {
    State {
        rev: epochs::raised(rev, 1),
        ..state(rev, name)
    }
}

fn acked_after(rev: i64, name: &'static str) -> Op {
    let op = acked(Kind::Edit, &[(Field::Name, name)], state(rev + 5, name));
    Op {
        outcome: Outcome::Acked(Some(after(rev, name))),
        ..op
    }
}

/// Dumped before n2 was written, restored later; n2 had not reached Stripe.
fn restored() -> Evidence {
    let mut evidence = good();
    evidence.restores.push(Restore {
        dumped: DUMPED,
        restored: RESTORED,
        rows: vec![after(1, "n1")],
        conflicts: Vec::new(),
        source: None,
        forgotten: HashSet::new(),
    });
    evidence.rows[0].state = after(1, "n1");
    evidence.copies = vec![copy("n1")];
    evidence.events.pop();
    evidence
}

/// It had, and came back from there.
fn came_back() -> Evidence {
    let mut evidence = restored();
    evidence.rows[0].state = after(2, "n2");
    evidence.heard.push((id(), epochs::raised(2, 1)));
    let event = event(Happened::Updated, "n2", Some("req_2"));
    evidence.events.push(event);
    evidence
}

#[test]
fn write_between_dump_and_restore_may_be_lost_or_come_back() {
    is_silent(&restored());
    is_silent(&came_back());
}

#[test]
fn write_before_the_dump_may_not_be_lost() {
    let mut evidence = restored();
    evidence.restores[0].dumped = 250;
    finds(&evidence, "undone");

    let mut no_row = restored();
    no_row.restores[0].rows.clear();
    no_row.rows.clear();
    finds(&no_row, "lost");
}

#[test]
fn write_after_the_restore_may_not_be_lost() {
    let mut evidence = came_back();
    // Nobody was told of it, so nothing but the restore says which of both is newer.
    evidence.told.pop();
    evidence.ops.push(acked_after(2, "n3"));
    evidence.rows[0].state = after(3, "n2");
    evidence.heard.push((id(), epochs::raised(3, 1)));
    finds(&evidence, "undone");

    evidence.told.push(after(3, "n3"));
    evidence.rows[0].state = after(3, "n3");
    evidence
        .events
        .push(event(Happened::Updated, "n3", Some("req_3")));
    let Outcome::Acked(Some(state)) = &mut evidence.ops[2].outcome else {
        panic!("it was acknowledged");
    };
    state.rev = epochs::raised(3, 1);
    is_silent(&evidence);
}

#[test]
fn restored_row_changes_by_writes_only() {
    let mut evidence = came_back();
    // The phone was written, and with it the name became what nobody had written.
    let mut third = after(3, "n9");
    third.fields.phone = Some("p3".to_owned());
    evidence.told.push(third.clone());
    let mut fourth = after(4, "n4");
    fourth.fields.phone = Some("p3".to_owned());
    evidence.told.push(fourth.clone());
    let phone = acked(Kind::Edit, &[(Field::Phone, "p3")], state(8, ""));
    let name = acked(Kind::Edit, &[(Field::Name, "n4")], state(9, ""));
    for (op, state) in [(phone, third), (name, fourth)] {
        let outcome = Outcome::Acked(Some(state));
        evidence.ops.push(Op { outcome, ..op });
    }
    finds(&evidence, "lost");
}

#[test]
fn edit_in_stripe_outlives_a_restore() {
    let edit = by_person(Kind::Edit, &[(Field::Name, "h2")], 250);
    let mut evidence = restored();
    evidence.ops.push(edit);
    evidence.events.push(event(Happened::Updated, "h2", None));
    evidence.copies = vec![copy("h2")];
    finds(&evidence, "lost");

    // It gave way to n2, which had been written unread: a conflict, lost with the rest.
    let mut replaced = evidence.clone();
    let ours = event(Happened::Updated, "n2", Some("req_2"));
    replaced.events.push(ours);
    replaced.rows[0].state = after(2, "n2");
    replaced.heard.push((id(), epochs::raised(2, 1)));
    finds(&replaced, "undone");
    let mut unnoted = replaced.clone();
    unnoted.requests[1].received_at_us = 260;
    unnoted.requests[1].answered_at_us = Some(261);
    is_silent(&unnoted);
    replaced.restores[0].conflicts.push(Conflict {
        customer: id(),
        field: "name".to_owned(),
        stripe_value: Some("h2".to_owned()),
    });
    is_silent(&replaced);

    evidence.rows[0].state = after(2, "h2");
    evidence.heard.push((id(), epochs::raised(2, 1)));
    is_silent(&evidence);
}

#[test]
fn revs_begin_anew_with_a_restore() {
    let mut evidence = came_back();
    evidence.rows[0].state = after(2, "n4");
    evidence.ops.push(acked_after(2, "n4"));
    evidence.told.push(after(2, "n4"));
    evidence
        .events
        .push(event(Happened::Updated, "n4", Some("req_4")));
    is_silent(&evidence);

    let mut other = evidence.clone();
    other.told.push(after(2, "n5"));
    finds(&other, "out of order");

    let mut never = evidence;
    never.heard.pop();
    finds(&never, "out of order");
}

#[test]
fn rev_of_the_dump_is_told_before_or_after_the_restore() {
    let mut evidence = restored();
    evidence.heard = vec![(id(), epochs::raised(1, 1))];
    is_silent(&evidence);
    evidence.heard.clear();
    finds(&evidence, "out of order");
}

#[test]
fn customer_lost_by_a_restore_is_imported_under_a_new_id() {
    let mut evidence = came_back();
    let heir = Uuid::from_u128(2);
    evidence.restores[0].dumped = 50;
    evidence.restores[0].rows.clear();
    let mut imported = after(1, "n2");
    imported.id = heir;
    evidence.rows[0].state = imported;
    evidence.heard.push((heir, epochs::raised(1, 1)));
    let mut named = event(Happened::Updated, "n2", Some("req_3"));
    named.copy.customer = Some(heir);
    evidence.events.push(named);
    is_silent(&evidence);

    evidence.copies = vec![copy("n2")];
    evidence.rows.clear();
    finds(&evidence, "doubled");
}

#[test]
fn orphan_of_a_row_without_its_link_waits_for_a_person() {
    let mut evidence = restored();
    // The request that made the first one is forgotten.
    evidence.requests[0] = call(1, "req_1", "a");
    evidence.restores[0].dumped = 60_000_000;
    evidence.restores[0].restored = 70_000_000;
    evidence.ops.truncate(1);
    evidence.told.truncate(1);
    let mut second = event(Happened::Created, "n1", Some("req_7"));
    second.copy.stripe_id = "cus_2".to_owned();
    evidence.copies.push(second.copy.clone());
    evidence.events.push(second);
    evidence.rows[0].stripe_id = Some("cus_2".to_owned());
    evidence.unmatched.insert(STRIPE_ID.to_owned());
    finds(&evidence, "doubled");
    // It would have been found by the e-mail that the dump holds.
    let mut renamed = event(Happened::Updated, "n1", Some("req_2"));
    renamed.copy.fields.email = Some("e2".to_owned());
    evidence.events.insert(1, renamed);
    is_silent(&evidence);
    evidence.unmatched.clear();
    finds(&evidence, "doubled");
    evidence.unmatched.insert(STRIPE_ID.to_owned());
    // It was known when the dump was taken.
    evidence.restores[0].dumped = 80_000_000;
    evidence.restores[0].restored = 90_000_000;
    finds(&evidence, "doubled");
}

#[test]
fn idempotency_key_is_forgotten_by_a_restore_only() {
    let mut evidence = restored();
    let create = Op {
        named: vec![Uuid::from_u128(8), Uuid::from_u128(9)],
        customer: Some(Uuid::from_u128(9)),
        outcome: Outcome::Unknown,
        ..acked(Kind::Create, &[(Field::Email, "e8")], state(2, ""))
    };
    evidence.ops.push(create);
    finds(&evidence, "doubled");
    evidence.ops[2].end = RESTORED + 1;
    is_silent(&evidence);
}

#[test]
fn deletion_is_lost_with_what_followed_the_dump_only() {
    let mut evidence = restored();
    evidence.ops.push(acked(Kind::Delete, &[], grave(3, "n2")));
    evidence.told.push(grave(3, "n2"));
    evidence.heard.push((id(), 3));
    is_silent(&evidence);
    evidence.restores[0].dumped = 320;
    finds(&evidence, "revived");
}

#[test]
fn revs_are_raised_by_the_source_of_their_message() {
    use crate::evidence::tap::Received;
    let (first, second) = (Uuid::from_u128(11), Uuid::from_u128(12));
    let mut evidence = restored();
    evidence.restores[0].source = Some(first);
    evidence.restores[0].rows = vec![state(1, "n1")];
    evidence.rows = vec![Row {
        state: state(2, "n4"),
        stripe_id: Some(STRIPE_ID.to_owned()),
        parked: false,
    }];
    evidence.ops = vec![acked(Kind::Edit, &[], state(4, "n4"))];
    (evidence.told, evidence.heard) = (Vec::new(), Vec::new());
    let received = || Received {
        told: vec![
            (first, state(2, "n2")),
            // The dump held it, not yet published.
            (second, state(1, "n1")),
            (second, state(2, "n4")),
        ],
        heard: vec![(second, id(), 2)],
    };
    epochs::raise(&mut evidence, received(), Some(second)).unwrap();
    let told = [state(2, "n2"), state(1, "n1"), after(2, "n4")];
    assert_eq!(evidence.told, told);
    assert_eq!(evidence.heard, [(id(), epochs::raised(2, 1))]);
    assert_eq!(evidence.restores[0].rows, [after(1, "n1")]);
    assert_eq!(evidence.rows[0].state, after(2, "n4"));
    assert_eq!(evidence.ops[0].state(), Some(&after(4, "n4")));
    assert_eq!(evidence.rows[0].state.fields, fields("e1", "n4"));

    let foreign = Some(Uuid::from_u128(13));
    assert!(epochs::raise(&mut evidence, received(), foreign).is_err());
}
