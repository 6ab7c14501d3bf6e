//! What a client of the API does: one operation at a time, by every call that writes.

use std::time::Duration;

use entity::fields::Field;
use rand::RngExt;
use rand::rngs::SmallRng;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::Load;
use super::answer::outcome;
use super::subject::Subject;
use crate::history::{Actor, Kind, Op, Outcome, now};

/// Below so many living customers only new ones are made.
const ENOUGH: usize = 300;
/// How often a create with an Idempotency-Key is repeated until its outcome is known.
const REPEATS: u32 = 8;

pub(super) async fn act(load: &Load, api: &str, random: &mut SmallRng) {
    let subject = load.subjects.pick(random);
    let Some(subject) = subject.filter(|_| load.subjects.count() >= ENOUGH) else {
        return create(load, api, random).await;
    };
    match random.random_range(0..100) {
        0..10 => create(load, api, random).await,
        10..66 => patch(load, api, &subject, random).await,
        66..76 => original_update(load, api, &subject).await,
        76..84 => rename(load, api, &subject).await,
        84..91 => {
            if let Some(other) = load.subjects.pick(random) {
                swap(load, api, (&subject, &other)).await;
            }
        }
        91..95 => delete(load, api, &subject).await,
        _ => original_delete(load, api, &subject).await,
    }
}

fn op(kind: Kind, subject: Option<&Subject>, sent: Vec<(Field, String)>) -> Op {
    Op {
        actor: Actor::Client,
        kind,
        start: now(),
        end: 0,
        customer: subject.map(|subject| subject.id),
        stripe_id: None,
        sent,
        if_match: None,
        outcome: Outcome::Unknown,
        named: Vec::new(),
    }
}

/// Sends it, and records what came of it.
async fn run(load: &Load, mut op: Op, request: RequestBuilder) -> Outcome {
    op.outcome = outcome(request).await;
    record(load, op)
}

fn record(load: &Load, mut op: Op) -> Outcome {
    op.end = now();
    if let Some(state) = op.state() {
        load.subjects.saw(state);
        op.customer = Some(state.id);
    }
    let outcome = op.outcome.clone();
    load.history.add(op);
    outcome
}

async fn create(load: &Load, api: &str, random: &mut SmallRng) {
    let number = load.number();
    let email = format!("e{number}@chaos.example");
    let sent = vec![
        (Field::Email, email.clone()),
        (Field::Name, format!("n{number}")),
    ];
    let body = json!({ "email": email, "name": format!("n{number}") });
    let mut op = op(Kind::Create, None, sent);
    if random.random_bool(0.25) {
        let request = load.http.post(format!("{api}/api/create-customer/"));
        run(load, op, request.json(&body)).await;
    } else if random.random_bool(0.4) {
        let request = load.http.post(format!("{api}/api/v1/customers"));
        run(load, op, request.json(&body)).await;
    } else {
        let again = random.random_bool(0.2);
        for repeat in 0..REPEATS {
            // A client that had no answer tries another process.
            let api = &load.apis[(number as usize + repeat as usize) % load.apis.len()];
            let request = load.http.post(format!("{api}/api/v1/customers"));
            let request = request.header("Idempotency-Key", format!("chaos-{number}"));
            let latest = outcome(request.json(&body)).await;
            if let Outcome::Acked(Some(state)) = &latest {
                op.named.push(state.id);
            }
            // What was acknowledged once stays so, whatever a repetition says.
            if !op.is_acked() {
                op.outcome = latest;
            }
            match op.outcome {
                Outcome::Unknown => tokio::time::sleep(Duration::from_millis(300)).await,
                _ if again && op.named.len() == 1 => {}
                _ => break,
            }
        }
        record(load, op);
    }
}

async fn patch(load: &Load, api: &str, subject: &Subject, random: &mut SmallRng) {
    let number = load.number();
    let fields = [
        (Field::Name, 'n'),
        (Field::Phone, 'p'),
        (Field::Description, 'd'),
    ];
    let first = random.random_range(0..3);
    let count = random.random_range(1..=2);
    let chosen = (first..first + count).map(|at| fields[at % 3]);
    let sent: Vec<_> = chosen
        .map(|(field, letter)| (field, format!("{letter}{number}")))
        .collect();
    let if_match = random.random_bool(0.2).then_some(subject.rev);
    patch_with(load, api, subject, (sent, if_match)).await;
}

async fn patch_with(
    load: &Load,
    api: &str,
    subject: &Subject,
    (sent, if_match): (Vec<(Field, String)>, Option<i64>),
) -> Outcome {
    let members = sent.iter();
    let body: Map<String, Value> = members
        .map(|(field, value)| (field.as_str().to_owned(), value.as_str().into()))
        .collect();
    let mut request = load
        .http
        .patch(format!("{api}/api/v1/customers/{}", subject.id))
        .json(&body);
    if let Some(rev) = if_match {
        request = request.header("If-Match", format!("\"{rev}\""));
    }
    let op = Op {
        if_match,
        ..op(Kind::Edit, Some(subject), sent)
    };
    run(load, op, request).await
}

async fn original_update(load: &Load, api: &str, subject: &Subject) {
    let name = format!("n{}", load.number());
    let request = load
        .http
        .put(format!("{api}/api/update-customer/"))
        .json(&json!({ "email": subject.email, "name": name }));
    // Whoever has the e-mail by now is meant; the answer says who that is.
    let op = op(Kind::Edit, Some(subject), vec![(Field::Name, name)]);
    run(load, op, request).await;
}

async fn rename(load: &Load, api: &str, subject: &Subject) {
    let email = format!("r{}@chaos.example", load.number());
    patch_with(load, api, subject, (vec![(Field::Email, email)], None)).await;
}

/// Two customers exchange their addresses, by way of a third one.
async fn swap(load: &Load, api: &str, (one, other): (&Subject, &Subject)) {
    if one.id == other.id {
        return;
    }
    let aside = format!("s{}@chaos.example", load.number());
    for (subject, email) in [(one, &aside), (other, &one.email), (one, &other.email)] {
        let sent = vec![(Field::Email, email.clone())];
        if !matches!(
            patch_with(load, api, subject, (sent, None)).await,
            Outcome::Acked(_)
        ) {
            return;
        }
    }
}

async fn delete(load: &Load, api: &str, subject: &Subject) {
    let request = load
        .http
        .delete(format!("{api}/api/v1/customers/{}", subject.id));
    run(load, op(Kind::Delete, Some(subject), Vec::new()), request).await;
    load.subjects.forget(subject.id);
}

async fn original_delete(load: &Load, api: &str, subject: &Subject) {
    let request = load
        .http
        .request(Method::DELETE, format!("{api}/api/delete-customer/"))
        .json(&json!({ "email": subject.email }));
    // Whoever has the e-mail by now is meant.
    let sent = vec![(Field::Email, subject.email.clone())];
    run(load, op(Kind::Delete, Some(subject), sent), request).await;
    load.subjects.forget(subject.id);
}
