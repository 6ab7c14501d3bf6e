//! The checker against histories made by hand: it is silent on good ones and finds each kind of bad one, or
//! its zeros would mean nothing.

use entity::fields::{Field, Fields};
use uuid::Uuid;

use super::{Findings, check};
use crate::evidence::{Conflict, Copy, Event, Evidence, Happened, Request, Row};
use crate::history::{Actor, Fault, Kind, Op, Outcome, State};

mod restored;

const STRIPE_ID: &str = "cus_1";

fn id() -> Uuid {
    Uuid::from_u128(1)
}

fn fields(email: &str, name: &str) -> Fields {
    Fields {
        email: Some(email.to_owned()),
        name: Some(name.to_owned()),
        ..Fields::default()
    }
}

fn state(rev: i64, name: &str) -> State {
    State {
        id: id(),
        rev,
        deleted: false,
        fields: fields("e1", name),
    }
}

fn grave(rev: i64, name: &str) -> State {
    State {
        deleted: true,
        ..state(rev, name)
    }
}

/// A client's write that was answered with `state`, at the time of its rev.
fn acked(kind: Kind, sent: &[(Field, &str)], state: State) -> Op {
    let start = u64::try_from(state.rev).unwrap() * 100;
    let sent = sent
        .iter()
        .map(|(field, value)| (*field, (*value).to_owned()));
    Op {
        actor: Actor::Client,
        kind,
        start,
        end: start + 10,
        customer: Some(id()),
        stripe_id: None,
        sent: sent.collect(),
        if_match: None,
        outcome: Outcome::Acked(Some(state)),
        named: Vec::new(),
    }
}

fn by_person(kind: Kind, sent: &[(Field, &str)], start: u64) -> Op {
    Op {
        actor: Actor::Person,
        start,
        end: start + 10,
        customer: None,
        stripe_id: Some(STRIPE_ID.to_owned()),
        outcome: Outcome::Acked(None),
        ..acked(kind, sent, state(1, ""))
    }
}

fn copy(name: &str) -> Copy {
    Copy {
        stripe_id: STRIPE_ID.to_owned(),
        customer: Some(id()),
        fields: fields("e1", name),
    }
}

fn event(happened: Happened, name: &str, request: Option<&str>) -> Event {
    Event {
        happened,
        copy: copy(name),
        request: request.map(str::to_owned),
        key: request.map(|request| format!("key of {request}")),
    }
}

fn call(seq: u64, request_id: &str, parameters: &str) -> Request {
    Request {
        seq,
        method: "POST".to_owned(),
        path: format!("/v1/customers/{STRIPE_ID}"),
        status: Some(200),
        request_id: request_id.to_owned(),
        received_at_us: seq * 60_000_000,
        answered_at_us: Some(seq * 60_000_000 + 1),
        parameters: Some(parameters.to_owned()),
        fault: None,
    }
}

/// Created as n1, then renamed to n2, and both sides hold it.
fn good() -> Evidence {
    let (first, second) = (state(1, "n1"), state(2, "n2"));
    let created = [(Field::Email, "e1"), (Field::Name, "n1")];
    Evidence {
        ops: vec![
            acked(Kind::Create, &created, first.clone()),
            acked(Kind::Edit, &[(Field::Name, "n2")], second.clone()),
        ],
        rows: vec![Row {
            state: second.clone(),
            stripe_id: Some(STRIPE_ID.to_owned()),
            parked: false,
        }],
        told: vec![first, second],
        heard: vec![(id(), 1), (id(), 2)],
        copies: vec![copy("n2")],
        events: vec![
            event(Happened::Created, "n1", Some("req_1")),
            event(Happened::Updated, "n2", Some("req_2")),
        ],
        requests: vec![call(1, "req_1", "a"), call(2, "req_2", "b")],
        ..Evidence::default()
    }
}

/// Then deleted on this side, and gone on both.
fn deleted() -> Evidence {
    let mut evidence = good();
    let grave = grave(3, "n2");
    evidence.ops.push(acked(Kind::Delete, &[], grave.clone()));
    evidence.told.push(grave.clone());
    evidence.heard.push((id(), 3));
    evidence.rows[0].state = grave;
    evidence.copies.clear();
    let gone = event(Happened::Deleted, "n2", Some("req_3"));
    evidence.events.push(gone);
    evidence
}

/// Then renamed by a person, and both sides hold that.
fn edited() -> Evidence {
    let mut evidence = good();
    evidence
        .ops
        .push(by_person(Kind::Edit, &[(Field::Name, "h3")], 300));
    evidence.rows[0].state = state(3, "h3");
    evidence.heard.push((id(), 3));
    evidence.copies = vec![copy("h3")];
    evidence.events.push(event(Happened::Updated, "h3", None));
    evidence
}

fn hold(evidence: &mut Evidence, rev: i64, name: &str) {
    evidence.heard = (1..=rev).map(|rev| (id(), rev)).collect();
    evidence.rows[0].state = state(rev, name);
    evidence.copies = vec![copy(name)];
    evidence
        .events
        .push(event(Happened::Updated, name, Some("req_9")));
}

#[track_caller]
fn finds(evidence: &Evidence, kind: &str) -> Findings {
    let findings = check(evidence);
    let found: Vec<_> = findings
        .all()
        .into_iter()
        .filter(|(_, cases)| !cases.is_empty())
        .collect();
    assert!(found.iter().any(|(name, _)| *name == kind), "{found:?}");
    findings
}

#[track_caller]
fn is_silent(evidence: &Evidence) {
    assert_eq!(check(evidence), Findings::default());
}

#[test]
fn it_is_silent_on_good_histories() {
    for evidence in [good(), deleted(), edited(), Evidence::default()] {
        is_silent(&evidence);
    }
}

#[test]
fn a_change_that_is_on_neither_side_is_lost() {
    let mut neither = good();
    hold(&mut neither, 2, "what nobody wrote");
    finds(&neither, "lost");

    let mut no_row = good();
    no_row.rows.clear();
    finds(&no_row, "lost");

    let mut not_in_stripe = good();
    not_in_stripe.events.pop();
    finds(&not_in_stripe, "lost");

    let mut not_home = edited();
    not_home.rows[0].state = state(2, "n2");
    finds(&not_home, "lost");
    // A person can see it, and why.
    not_home.rows[0].parked = true;
    let findings = check(&not_home);
    assert!(findings.lost.is_empty(), "{findings:?}");

    let mut stranger = good();
    let email = [(Field::Email, "h9")];
    stranger.ops.push(by_person(Kind::Create, &email, 500));
    finds(&stranger, "lost");
}

#[test]
fn what_a_person_created_is_told_from_what_was_created_later_with_its_address() {
    let mut evidence = good();
    let by_person = Op {
        stripe_id: None,
        ..by_person(
            Kind::Create,
            &[(Field::Email, "e1"), (Field::Name, "h1")],
            50,
        )
    };
    evidence.ops = vec![by_person, evidence.ops.remove(1)];
    evidence.events[0] = event(Happened::Created, "h1", None);
    evidence.told = vec![state(2, "n2")];
    let mut later = event(Happened::Created, "n9", Some("req_8"));
    later.copy.stripe_id = "cus_9".to_owned();
    later.copy.customer = Some(Uuid::from_u128(9));
    evidence.events.push(later);
    is_silent(&evidence);
    // And its name stays its own.
    evidence.ops.pop();
    evidence.told.clear();
    hold(&mut evidence, 1, "h1");
    is_silent(&evidence);
}

#[test]
fn a_row_that_nobody_deleted_and_is_gone_is_lost() {
    let mut evidence = good();
    evidence.rows[0].state = grave(3, "n2");
    finds(&evidence, "lost");
    let delete = Op {
        outcome: Outcome::Unknown,
        ..acked(Kind::Delete, &[], state(3, ""))
    };
    let mut unknown = deleted();
    unknown.ops.pop();
    unknown.ops.push(delete);
    is_silent(&unknown);
}

#[test]
fn an_older_value_over_a_newer_one_is_undone() {
    let mut evidence = good();
    hold(&mut evidence, 3, "n1");
    finds(&evidence, "undone");

    let mut edit = edited();
    hold(&mut edit, 4, "n2");
    finds(&edit, "undone");

    let mut by_edit = good();
    by_edit
        .ops
        .push(by_person(Kind::Edit, &[(Field::Name, "h0")], 150));
    hold(&mut by_edit, 3, "h0");
    finds(&by_edit, "undone");
}

#[test]
fn an_undo_in_the_middle_is_found_though_a_later_write_covers_it() {
    let mut evidence = good();
    // At rev 4 a client wrote the phone, and the name was the first one again.
    let mut fourth = state(4, "n1");
    fourth.fields.phone = Some("p4".to_owned());
    let mut fifth = state(5, "n5");
    fifth.fields.phone = Some("p4".to_owned());
    evidence
        .ops
        .push(acked(Kind::Edit, &[(Field::Phone, "p4")], fourth.clone()));
    evidence
        .ops
        .push(acked(Kind::Edit, &[(Field::Name, "n5")], fifth.clone()));
    evidence.told.extend([fourth, fifth.clone()]);
    evidence.rows[0].state = fifth.clone();
    evidence.events[1].copy.fields = fifth.fields;
    finds(&evidence, "undone");
}

#[test]
fn a_condition_that_was_not_kept_undoes_what_nobody_had_seen() {
    let mut evidence = good();
    evidence.ops[1].if_match = Some(1);
    is_silent(&evidence);
    evidence.ops[1].if_match = Some(0);
    finds(&evidence, "undone");
}

#[test]
fn edit_in_stripe_gives_way_to_ours_only_with_a_conflict() {
    let mut noted = edited();
    hold(&mut noted, 4, "n2");
    noted.conflicts.push(Conflict {
        customer: id(),
        field: "name".to_owned(),
        stripe_value: Some("h3".to_owned()),
    });
    is_silent(&noted);

    // Ours was on its way still, and replaced the edit unread.
    let mut unread = edited();
    unread.events.remove(1);
    hold(&mut unread, 4, "n2");
    finds(&unread, "undone");
}

#[test]
fn edit_that_a_person_has_replaced_needs_no_conflict() {
    let mut evidence = edited();
    evidence
        .ops
        .push(by_person(Kind::Edit, &[(Field::Name, "h4")], 400));
    evidence.events.push(event(Happened::Updated, "h4", None));
    hold(&mut evidence, 4, "n2");
    finds(&evidence, "undone");
    evidence.conflicts.push(Conflict {
        customer: id(),
        field: "name".to_owned(),
        stripe_value: Some("h4".to_owned()),
    });
    is_silent(&evidence);
}

#[test]
fn an_edit_in_stripe_goes_with_the_customer_that_is_deleted_there() {
    let mut kept = edited();
    kept.rows[0] = Row {
        state: state(2, "n2"),
        stripe_id: Some(STRIPE_ID.to_owned()),
        parked: true,
    };
    finds(&kept, "undone");

    kept.ops.push(by_person(Kind::Delete, &[], 400));
    kept.copies.clear();
    kept.events.push(event(Happened::Deleted, "h3", None));
    is_silent(&kept);
    // Nobody else had written this one.
    let phone = [(Field::Phone, "hp3")];
    kept.ops.push(by_person(Kind::Edit, &phone, 350));
    is_silent(&kept);
    kept.ops.retain(|op| op.kind != Kind::Delete);
    finds(&kept, "lost");

    // The row holds an earlier edit.
    let mut earlier = edited();
    let later = [(Field::Name, "h4")];
    earlier.ops.push(by_person(Kind::Edit, &later, 320));
    earlier.events.push(event(Happened::Updated, "h4", None));
    earlier.rows[0].parked = true;
    finds(&earlier, "undone");
    earlier.ops.push(by_person(Kind::Delete, &[], 325));
    is_silent(&earlier);
}

#[test]
fn an_unknown_write_may_have_happened_or_not() {
    let unknown = Op {
        outcome: Outcome::Unknown,
        ..acked(Kind::Edit, &[(Field::Name, "n3")], state(3, "n3"))
    };
    let mut not_done = good();
    not_done.ops.push(unknown.clone());
    is_silent(&not_done);
    let mut done = good();
    done.ops.push(unknown);
    done.told.push(state(3, "n3"));
    hold(&mut done, 3, "n3");
    is_silent(&done);
}

#[test]
fn two_customers_in_stripe_for_one_row_are_doubled() {
    let mut evidence = good();
    let mut second = event(Happened::Created, "n1", Some("req_4"));
    second.copy.stripe_id = "cus_2".to_owned();
    evidence.events.insert(1, second);
    finds(&evidence, "doubled");
}

#[test]
fn two_rows_for_one_idempotency_key_are_doubled() {
    let mut evidence = good();
    evidence.ops[0].named = vec![id(), Uuid::from_u128(2)];
    finds(&evidence, "doubled");
}

#[test]
fn what_was_refused_and_done_all_the_same_is_doubled() {
    let mut evidence = good();
    evidence.ops[1].outcome = Outcome::Refused;
    finds(&evidence, "doubled");
}

#[test]
fn what_was_deleted_and_lives_is_revived_on_either_side() {
    let mut here = deleted();
    here.rows[0].state = state(4, "n2");
    finds(&here, "revived");

    let mut there = deleted();
    there.events.pop();
    finds(&there, "revived");

    let mut later = deleted();
    later.told.push(state(4, "n2"));
    finds(&later, "revived");

    let mut by_people = good();
    by_people.ops.push(by_person(Kind::Delete, &[], 300));
    let gone = event(Happened::Deleted, "n2", None);
    by_people.events.push(gone);
    finds(&by_people, "revived");
}

#[test]
fn a_rev_that_comes_before_an_earlier_one_or_never_is_out_of_order() {
    let mut swapped = good();
    swapped.heard.reverse();
    finds(&swapped, "out of order");

    let mut missing = good();
    missing.heard.remove(0);
    finds(&missing, "out of order");

    // One that came from Stripe.
    let mut missing = edited();
    missing.heard.pop();
    finds(&missing, "out of order");

    let mut other = good();
    other.told.push(state(1, "another name"));
    finds(&other, "out of order");

    // A relay that has lost its confirms publishes them again.
    let mut repeated = good();
    repeated.told.extend([state(1, "n1"), state(2, "n2")]);
    repeated.heard.extend([(id(), 1), (id(), 2)]);
    is_silent(&repeated);
}

#[test]
fn a_call_that_was_answered_and_comes_again_is_unexplained() {
    let mut evidence = good();
    evidence.requests.push(call(3, "req_3", "b"));
    finds(&evidence, "unexplained duplicate calls");

    let mut lost = evidence;
    lost.requests[1].status = None;
    lost.requests[1].answered_at_us = None;
    is_silent(&lost);

    lost.requests[1] = call(2, "req_2", "b");
    lost.faults.push(Fault {
        kind: "kill -9 of a worker",
        harms_worker: true,
        start: 2 * 60_000_000 + 5,
        end: 2 * 60_000_000 + 6,
    });
    is_silent(&lost);
    lost.faults[0].harms_worker = false;
    finds(&lost, "unexplained duplicate calls");

    // A person had changed it meanwhile, so it is no repetition.
    let again = event(Happened::Updated, "n2", Some("req_3"));
    lost.events.push(event(Happened::Updated, "h3", None));
    lost.events.push(again);
    let findings = check(&lost);
    assert!(findings.duplicate_calls.is_empty(), "{findings:?}");
}

#[test]
fn a_key_with_two_effects_is_unexplained() {
    let mut evidence = good();
    let key = evidence.events[0].key.clone();
    evidence.events[1].key = key;
    finds(&evidence, "unexplained duplicate calls");
}
