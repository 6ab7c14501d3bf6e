//! What people do on Stripe's dashboard: create, edit and delete, without our metadata.

use entity::fields::Field;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::Load;
use crate::history::{Actor, Kind, Op, Outcome, now};

pub(super) async fn act(load: &Load, random: &mut SmallRng) {
    let number = load.number();
    let known = load.subjects.pick_in_stripe(random);
    match (random.random_range(0..100), known) {
        (5..96, Some((_, stripe_id))) => {
            let (field, value) = match random.random_range(0..20) {
                0 => (Field::Email, format!("he{number}@chaos.example")),
                1..8 => (Field::Name, format!("hn{number}")),
                8..14 => (Field::Phone, format!("hp{number}")),
                _ => (Field::Description, format!("hd{number}")),
            };
            submit(load, Kind::Edit, Some(stripe_id), vec![(field, value)]).await;
        }
        (96.., Some((subject, stripe_id))) => {
            submit(load, Kind::Delete, Some(stripe_id), Vec::new()).await;
            load.subjects.forget(subject.id);
        }
        _ => {
            let sent = vec![
                (Field::Email, format!("he{number}@chaos.example")),
                (Field::Name, format!("hn{number}")),
            ];
            submit(load, Kind::Create, None, sent).await;
        }
    }
}

/// Sends a form of the page.
async fn submit(load: &Load, kind: Kind, stripe_id: Option<String>, sent: Vec<(Field, String)>) {
    let mut path = format!("{}/dashboard/customers", load.sandbox);
    if let Some(id) = &stripe_id {
        path = format!("{path}/{id}");
    }
    if kind == Kind::Delete {
        path = format!("{path}/delete");
    }
    let form = sent.iter().map(|(field, value)| (field.as_str(), value));
    let form: Vec<_> = form.collect();
    let start = now();
    // A form that shows nothing changes what it names.
    let answer = load.http.post(path).form(&form).send().await;
    let outcome = match answer.map(|answer| answer.status()) {
        Ok(status) if status.is_success() || status.is_redirection() => Outcome::Acked(None),
        Ok(status) if status.is_client_error() => Outcome::Refused,
        _ => Outcome::Unknown,
    };
    load.history.add(Op {
        actor: Actor::Person,
        kind,
        start,
        end: now(),
        customer: None,
        stripe_id,
        sent,
        if_match: None,
        outcome,
        named: Vec::new(),
    });
}
