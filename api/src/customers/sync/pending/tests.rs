//! Facts about the order of the obstacles.

use entity::fields::Fields;
use platform::heartbeat::{Model, Report, Role};
use uuid::Uuid;

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

const NOW: i64 = 1_000;

fn process(role: Role, seen: i64, problems: Vec<Problem>) -> Model {
    Model {
        id: Uuid::new_v4(),
        started_at: at(1),
        seen_at: at(seen),
        role,
        report: Some(Report { problems }),
        stopped_at: None,
    }
}

fn problem(component: &str, code: Option<&str>, next: Option<i64>) -> Problem {
    Problem {
        component: component.to_owned(),
        code: code.map(str::to_owned),
        detail: format!("{component} has a problem"),
        since: at(900),
        next_attempt_at: next.map(at),
    }
}

fn refused(next: i64) -> Problem {
    problem(UPSYNC, Some("key_refused"), Some(next))
}

fn row() -> customer::Model {
    customer::Model {
        id: Uuid::nil(),
        email: "a@x.io".to_owned(),
        email_key: "a@x.io".to_owned(),
        name: None,
        phone: None,
        description: None,
        external_id: None,
        rev: 1,
        change_xid: 0,
        deleted_at: None,
        created_at: at(500),
        updated_at: at(500),
    }
}

/// A customer whose change is in the outbox, or is not, with these relays and workers.
fn explain(in_outbox: bool, relays: Vec<Model>, workers: Vec<Model>) -> Pending {
    let row = row();
    let facts = Facts {
        row: &row,
        link: None,
        in_outbox_since: in_outbox.then(|| at(501)),
        failures: None,
        services: Services::of(relays, workers, at(NOW)),
    };
    facts.explain()
}

fn relay(problems: Vec<Problem>) -> Vec<Model> {
    vec![process(Role::Relay, NOW, problems)]
}

fn worker(problems: Vec<Problem>) -> Vec<Model> {
    vec![process(Role::Worker, NOW, problems)]
}

#[test]
fn first_obstacle_is_the_reason_and_the_others_follow() {
    let nobody = explain(true, Vec::new(), Vec::new());
    assert_eq!(nobody.reason, "no_live_relay");
    assert_eq!(nobody.since, at(500));
    assert!(nobody.detail.contains("no relay has run"), "{nobody:?}");
    assert!(nobody.detail.contains("no worker has run"), "{nobody:?}");
    let dead = vec![process(Role::Worker, 700, Vec::new())];
    let no_worker = explain(false, Vec::new(), dead);
    assert_eq!(
        (&*no_worker.reason, no_worker.since),
        ("no_live_worker", at(700))
    );
    assert!(!no_worker.detail.contains("relay"), "it was published");
    // Inside one process the outbox row stays until the worker has finished.
    let away = relay(vec![problem("relay broker", None, None)]);
    let both = explain(true, away.clone(), worker(vec![refused(1_007)]));
    assert_eq!(both.reason, "key_refused");
    assert_eq!(
        (both.since, both.next_attempt_at),
        (at(900), Some(at(1_007)))
    );
    assert_eq!(
        both.detail,
        "upsync has a problem; relay broker has a problem"
    );
    let broker = explain(true, away.clone(), worker(Vec::new()));
    assert_eq!(broker.reason, "broker_unavailable");
    assert_eq!(explain(false, away, worker(Vec::new())).reason, "queued");
}

#[test]
fn breaker_is_the_reason_only_if_it_is_open_in_every_worker() {
    let mut workers = worker(vec![refused(1_009)]);
    workers.extend(worker(vec![refused(990)]));
    let open = explain(false, Vec::new(), workers.clone());
    assert_eq!(open.reason, "key_refused");
    assert_eq!(open.next_attempt_at, Some(at(NOW)), "not in the past");
    workers.extend(worker(Vec::new()));
    assert_eq!(explain(false, Vec::new(), workers).reason, "queued");
    let consumer = worker(vec![problem(UPSYNC, None, None)]);
    assert_eq!(
        explain(false, Vec::new(), consumer).reason,
        "worker_problem"
    );
    let other = worker(vec![problem("downsync-scan", None, None)]);
    assert_eq!(explain(false, Vec::new(), other).reason, "queued");
}

#[test]
fn failures_of_the_customer_itself_come_last() {
    let row = row();
    let link = stripe_link::Model {
        next_attempt_at: Some(at(1_020)),
        ..link()
    };
    let facts = |workers| Facts {
        row: &row,
        link: Some(&link),
        in_outbox_since: None,
        failures: Some(Failures {
            first_at: at(800),
            code: "http_502".to_owned(),
        }),
        services: Services::of(Vec::new(), workers, at(NOW)),
    };
    let pending = facts(worker(Vec::new())).explain();
    assert_eq!(pending.reason, "stripe_unavailable");
    assert_eq!(pending.since, at(800));
    assert_eq!(pending.next_attempt_at, Some(at(1_020)));
    let pending = facts(worker(vec![refused(1_009)])).explain();
    assert_eq!(pending.reason, "key_refused");
}

fn link() -> stripe_link::Model {
    stripe_link::Model {
        customer_id: Uuid::nil(),
        stripe_id: None,
        stripe_created: None,
        base: Some(Fields::default()),
        fingerprint: None,
        synced_rev: 0,
        external_id: None,
        pushed: None,
        sent_log: None,
        request_body: None,
        request_key: None,
        request_started_at: None,
        doubt_since: None,
        push_rev: None,
        push_token: None,
        push_started_at: None,
        takeovers: 0,
        acked_at: None,
        acked_order: None,
        observed_at: None,
        observed_order: None,
        attempts: 1,
        next_attempt_at: None,
        recheck_at: None,
        parked_reason: None,
        parked_detail: None,
        parked_rev: None,
        parked_request_id: None,
        parked_at: None,
        parked_stripe_value: None,
        parked_dismissed_at: None,
        detached_at: None,
        created_at: at(500),
        updated_at: at(500),
    }
}

#[test]
fn failures_in_a_row_begin_after_the_last_other_outcome() {
    let outcome = |second: i64, result: &str, reason: Option<&str>| timeline::Model {
        id: second,
        customer_id: Uuid::nil(),
        at: at(second),
        committed_at: None,
        step: Step::Outcome,
        rev: Some(1),
        detail: timeline::Detail {
            result: Some(result.to_owned()),
            reason: reason.map(str::to_owned),
            ..timeline::Detail::default()
        },
        change_xid: None,
        change_id: None,
        change_at: None,
    };
    let outcomes = [
        outcome(4, "later", Some("http_502")),
        outcome(3, "later", Some("no_answer")),
        outcome(2, "parked", Some("rejected")),
        outcome(1, "later", Some("no_answer")),
    ];
    let failures = Failures::of(&outcomes).unwrap();
    assert_eq!((failures.first_at, &*failures.code), (at(3), "http_502"));
    assert_eq!(Failures::of(&outcomes[2..]), None);
}
