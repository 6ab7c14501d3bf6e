//! The life of one customer, told through the client by whoever does what [`action`] says: with an honest
//! Stripe, and with each fault struck into each request. The end is always the same, and nothing is
//! done twice.

use std::time::Duration;

use entity::fields::{Field, Fields};
use entity::message::StripeCopy;
use entity::stamp::Stamps;
use platform::config::Secret;
use stripe_sandbox::fault::{Kind, Reason, Shows};
use stripe_sandbox::{Fault, Running, start};
use sync_worker::outcome::{Action, Operation, action};
use sync_worker::stripe::{
    EventPage, Failure, Lane, ListPage, Options, Reply, Stripe, create_body, update_body,
};
use uuid::Uuid;

use crate::stripe_server::{KEY, client};

const ROUTES: [&str; 6] = [
    "POST /v1/customers",
    "POST /v1/customers/{id}",
    "DELETE /v1/customers/{id}",
    "GET /v1/customers/{id}",
    "GET /v1/customers",
    "GET /v1/events",
];

/// One fault strikes, and one more attempt after a look or a replay: more is a loop.
const MOST_ATTEMPTS: u32 = 4;

fn faults() -> Vec<Kind> {
    let mut faults = vec![
        Kind::GatewayErrorBeforeEffect,
        Kind::GatewayErrorAfterEffect,
        Kind::EmptyBody,
        Kind::GarbledBody,
        Kind::TruncatedBody,
        Kind::ResetBeforeEffect,
        Kind::ResetAfterEffect,
        Kind::RateLimited {
            reason: Reason::EndpointRate,
        },
        Kind::LockTimeout,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::UnknownFields,
    ];
    for shows in [Shows::OtherObject, Shows::OtherMode, Shows::Nothing] {
        faults.push(Kind::MismatchedResponse { shows });
    }
    for should_retry in [None, Some(false), Some(true)] {
        faults.push(Kind::ErrorBeforeEffect { should_retry });
        faults.push(Kind::ErrorAfterEffect { should_retry });
    }
    faults
}

/// Somebody patient, who does what the table says.
struct Person<'a> {
    stripe: &'a Stripe,
    id: Uuid,
    email: String,
}

enum Next {
    Again,
    Look,
    Done,
}

fn next(operation: Operation, failure: &Failure) -> Next {
    match action(operation, failure) {
        Action::Retry | Action::SlowDown { .. } | Action::StopLane { .. } => Next::Again,
        Action::LookUp { .. } => Next::Look,
        Action::Gone if operation == Operation::Delete => Next::Done,
        other => panic!("{operation:?} {failure}: {other:?}"),
    }
}

impl Person<'_> {
    async fn write(
        &self,
        operation: Operation,
        stamps: &Stamps,
        send: impl AsyncFn(&str) -> Result<Reply<StripeCopy>, Failure>,
    ) -> StripeCopy {
        let mut key = Uuid::now_v7().to_string();
        for _ in 0..MOST_ATTEMPTS {
            let failure = match send(&key).await {
                Ok(reply) => return reply.value,
                Err(failure) => failure,
            };
            match next(operation, &failure) {
                Next::Again => continue,
                Next::Look => {
                    let is_there = |copy: &StripeCopy| {
                        stamps
                            .iter()
                            .all(|(field, stamp)| copy.stamps.get(field) == Some(stamp))
                    };
                    if let Some(copy) = self.list().await.into_iter().find(is_there) {
                        return copy;
                    }
                }
                Next::Done => panic!("{failure}"),
            }
            key = Uuid::now_v7().to_string();
        }
        panic!("{operation:?} goes on for ever");
    }

    async fn read<T>(&self, send: impl AsyncFn() -> Result<Reply<T>, Failure>) -> T {
        for _ in 0..MOST_ATTEMPTS {
            match send().await {
                Ok(reply) => return reply.value,
                Err(failure) => assert!(
                    matches!(next(Operation::Read, &failure), Next::Again),
                    "{failure}"
                ),
            }
        }
        panic!("reading goes on for ever");
    }

    async fn list(&self) -> Vec<StripeCopy> {
        let page = ListPage {
            email: Some(self.email.clone()),
            ..ListPage::default()
        };
        self.read(async || self.stripe.list(Lane::Upsync, &page).await)
            .await
            .items
    }

    async fn retrieve(&self, stripe_id: &str) -> StripeCopy {
        self.read(async || self.stripe.retrieve(Lane::Upsync, stripe_id).await)
            .await
    }

    async fn delete(&self, stripe_id: &str) {
        for _ in 0..MOST_ATTEMPTS {
            let Err(failure) = self.stripe.delete(Lane::Upsync, stripe_id).await else {
                return;
            };
            if matches!(next(Operation::Delete, &failure), Next::Done) {
                return;
            }
        }
        panic!("deleting goes on for ever");
    }
}

/// Creates, reads, updates, lists, deletes; then compares with what is to be.
async fn story(running: &Running, stripe: &Stripe) {
    let person = Person {
        stripe,
        id: Uuid::now_v7(),
        email: "o'hara+1@example.com".to_owned(),
    };
    let first = Fields {
        email: Some(person.email.clone()),
        name: Some("Zoë & 日本".to_owned()),
        phone: Some("+1 555".to_owned()),
        description: None,
    };
    let stamps = Stamps::of((1, person.id), &first, &Field::ALL);
    let body = create_body(&first, (person.id, None), &stamps);
    let send = async |key: &str| stripe.create(Lane::Upsync, &body, key).await;
    let made = person.write(Operation::Create, &stamps, send).await;
    assert_eq!((&made.fields, made.customer_id), (&first, Some(person.id)));
    assert_eq!(person.retrieve(&made.stripe_id).await, made);

    let second = Fields {
        name: None,
        description: Some("x=1".to_owned()),
        ..first.clone()
    };
    let changed = first.differing(&second);
    let stamps = Stamps::of((2, person.id), &second, &changed);
    let changes: Vec<_> = changed
        .iter()
        .map(|field| (*field, second.get(*field).map(str::to_owned)))
        .collect();
    let body = update_body(&changes, (person.id, None), &stamps);
    let send = async |key: &str| {
        stripe
            .update(Lane::Upsync, &made.stripe_id, &body, key)
            .await
    };
    let updated = person.write(Operation::Update, &stamps, send).await;
    assert_eq!(updated.fields, second);
    for (field, stamp) in stamps.iter() {
        assert_eq!(updated.stamps.get(field), Some(stamp));
    }
    assert_eq!(person.list().await, [updated]);
    assert_eq!(running.sandbox.customer_count(), 1, "one customer was made");

    person.delete(&made.stripe_id).await;
    assert!(person.retrieve(&made.stripe_id).await.deleted);
    assert!(person.list().await.is_empty());
    assert_eq!(running.sandbox.customer_count(), 0);
    let page = EventPage::default();
    let events = person
        .read(async || stripe.events(Lane::Downsync, &page).await)
        .await;
    let kinds: Vec<_> = events
        .items
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    let expected = ["customer.deleted", "customer.updated", "customer.created"];
    assert_eq!(kinds, expected, "each write had one effect");
}

#[tokio::test]
async fn a_customer_lives_and_dies_with_an_honest_stripe() {
    let running = start(stripe_sandbox::Options::default()).await.unwrap();
    story(&running, &client(&running.url)).await;
    let requests = running.sandbox.requests();
    assert_eq!(requests.len(), 8, "nothing was asked twice");
}

#[tokio::test]
async fn a_customer_lives_and_dies_the_same_through_every_fault() {
    for route in ROUTES {
        for kind in faults() {
            let running = start(stripe_sandbox::Options::default()).await.unwrap();
            running.sandbox.inject(Fault::once(route, kind.clone()));
            let name = format!("{kind:?} on {route}");
            // Shown when an assertion of the story fails, which does not know it.
            eprintln!("{name}");
            let stripe = client(&running.url);
            let told = tokio::time::timeout(Duration::from_secs(60), story(&running, &stripe));
            told.await.expect("the story has an end");
            assert_eq!(running.sandbox.faults()[0].hits, 1, "{name} struck");
        }
    }
}

#[tokio::test]
async fn a_customer_lives_and_dies_the_same_when_answers_come_too_late() {
    for route in ROUTES {
        let running = start(stripe_sandbox::Options::default()).await.unwrap();
        let delay = Duration::from_secs(60);
        running
            .sandbox
            .inject(Fault::once(route, Kind::LatencyAfterEffect { delay }));
        let mut options = Options::new(Secret::new(KEY), &running.url);
        options.timeout = Duration::from_millis(500);
        options.rate = 10_000.0;
        story(&running, &Stripe::new(options).unwrap()).await;
        assert_eq!(running.sandbox.faults()[0].hits, 1, "{route}");
    }
}
