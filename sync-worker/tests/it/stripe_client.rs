//! The Stripe client against the sandbox: every call, what it answers, and what it says when Stripe
//! refuses.

use std::collections::HashSet;
use std::time::Duration;

use entity::fields::{Field, Fields};
use entity::message::StripeCopy;
use entity::stamp::Stamps;
use stripe_core::customer::{CreateCustomer, ListCustomer};
use stripe_sandbox::fault::Kind;
use stripe_sandbox::{Fault, Running, start};
use sync_worker::outcome::{Action, Operation, action};
use sync_worker::stripe::{
    EventPage, FailureKind, Lane, ListPage, Stripe, create_body, detach_body, update_body,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::stripe_server::client;

const LANE: Lane = Lane::Upsync;

async fn sandbox() -> (Running, Stripe) {
    let running = start(stripe_sandbox::Options::default()).await.unwrap();
    let stripe = client(&running.url);
    (running, stripe)
}

fn fields(email: &str, name: &str) -> Fields {
    Fields {
        email: Some(email.to_owned()),
        name: Some(name.to_owned()),
        ..Fields::default()
    }
}

async fn create(stripe: &Stripe, fields: &Fields) -> StripeCopy {
    let id = Uuid::now_v7();
    let body = create_body(
        fields,
        (id, None),
        &Stamps::of((1, id), fields, &Field::ALL),
    );
    stripe
        .create(LANE, &body, &id.to_string())
        .await
        .unwrap()
        .value
}

#[tokio::test]
async fn what_is_created_is_what_is_retrieved_whatever_it_is_written_in() {
    let (_running, stripe) = sandbox().await;
    let nasty = [
        "a&b=c+d%41 [e]",
        "\"quoted\" 'single' <b>\\ / ;,{}|^`~#?",
        "👩‍👩‍👧‍👦 Zoë e\u{301} 日本語",
        "مرحبا \u{202e}rtl",
        "two\r\nlines\tand a tab",
        "null",
        "name=&metadata[customer_sync_id]=x",
    ];
    for text in nasty {
        let fields = Fields {
            email: Some("o'hara+x=1&y@example.com".to_owned()),
            name: Some(text.to_owned()),
            phone: Some("+1 555".to_owned()),
            description: Some(text.to_owned()),
        };
        let id = Uuid::now_v7();
        let stamps = Stamps::of((7, id), &fields, &Field::ALL);
        let reply = stripe
            .create(
                LANE,
                &create_body(&fields, (id, None), &stamps),
                &id.to_string(),
            )
            .await
            .unwrap();
        let expected = StripeCopy {
            stripe_id: reply.value.stripe_id.clone(),
            deleted: false,
            fields: fields.canonical(),
            customer_id: Some(id),
            external_id: None,
            stamps,
            detached: false,
            created: reply.value.created,
            unreadable: false,
        };
        assert_eq!(reply.value, expected);
        assert!(reply.request_id.is_some_and(|id| id.starts_with("req_")));
        assert!(!reply.replayed);
        let read = stripe.retrieve(LANE, &expected.stripe_id).await.unwrap();
        assert_eq!(read.value, expected);
    }
}

#[tokio::test]
async fn an_update_clears_what_is_none_and_leaves_the_rest() {
    let (running, stripe) = sandbox().await;
    let before = create(&stripe, &fields("bob@example.com", "Bob")).await;
    running
        .sandbox
        .edit_as_human(
            &before.stripe_id,
            &[("phone", "555"), ("metadata[vip]", "yes")],
        )
        .unwrap();
    let id = before.customer_id.unwrap();
    let after = fields("rob@example.com", "");
    let stamps = Stamps::of((2, id), &after, &[Field::Email, Field::Name]);
    let changes = [(Field::Email, after.email.clone()), (Field::Name, None)];
    let reply = stripe
        .update(
            LANE,
            &before.stripe_id,
            &update_body(&changes, (id, None), &stamps),
            "key-2",
        )
        .await
        .unwrap();
    let copy = reply.value;
    assert_eq!(copy.fields.email.as_deref(), Some("rob@example.com"));
    assert_eq!(copy.fields.name, None);
    assert_eq!(
        copy.fields.phone.as_deref(),
        Some("555"),
        "the human's edit survives"
    );
    assert_eq!(copy.customer_id, Some(id));
    for (field, stamp) in stamps.iter() {
        assert_eq!(copy.stamps.get(field), Some(stamp));
    }
    let kept = running.sandbox.customer(&before.stripe_id).unwrap();
    assert_eq!(kept["metadata"]["vip"], "yes");
    assert_eq!(kept["name"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_customer_that_was_let_go_is_claimed_again_by_an_update() {
    let (_running, stripe) = sandbox().await;
    let copy = create(&stripe, &fields("bob@example.com", "Bob")).await;
    let reply = stripe
        .update(LANE, &copy.stripe_id, &detach_body(), "detach")
        .await
        .unwrap();
    assert!(reply.value.detached);
    assert_eq!(reply.value.fields, copy.fields);
    assert_eq!(
        reply.value.customer_id, copy.customer_id,
        "it is known whose it was"
    );
    let body = update_body(&[], (copy.customer_id.unwrap(), None), &Stamps::default());
    let reply = stripe
        .update(LANE, &copy.stripe_id, &body, "claim")
        .await
        .unwrap();
    assert!(!reply.value.detached);
}

#[tokio::test]
async fn the_same_key_makes_one_customer_and_says_so() {
    let (running, stripe) = sandbox().await;
    let bob = fields("bob@example.com", "Bob");
    let body = create_body(
        &bob,
        (Uuid::nil(), None),
        &Stamps::of((1, Uuid::nil()), &bob, &Field::ALL),
    );
    let first = stripe.create(LANE, &body, "key").await.unwrap();
    let second = stripe.create(LANE, &body, "key").await.unwrap();
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.value, second.value);
    assert_eq!(running.sandbox.customer_count(), 1);
    let failure = stripe
        .create(LANE, "email=al%40example.com", "key")
        .await
        .unwrap_err();
    assert_eq!(failure.error_type.as_deref(), Some("idempotency_error"));
    let expected = Action::LookUp {
        reason: "idempotency_mismatch",
    };
    assert_eq!(action(Operation::Create, &failure), expected);
    assert_eq!(running.sandbox.customer_count(), 1);
}

#[tokio::test]
async fn a_storm_under_one_key_makes_one_customer() {
    let (running, stripe) = sandbox().await;
    let delay = Duration::from_millis(100);
    let slow = Fault::once("POST /v1/customers", Kind::LatencyBeforeEffect { delay });
    running.sandbox.inject(slow);
    let bob = fields("bob@example.com", "Bob");
    let body = create_body(
        &bob,
        (Uuid::nil(), None),
        &Stamps::of((1, Uuid::nil()), &bob, &Field::ALL),
    );
    let mut storm = JoinSet::new();
    for _ in 0..20 {
        let (stripe, body) = (stripe.clone(), body.clone());
        storm.spawn(async move { stripe.create(LANE, &body, "key").await });
    }
    let mut made = HashSet::new();
    for result in storm.join_all().await {
        match result {
            Ok(reply) => drop(made.insert(reply.value.stripe_id)),
            Err(failure) => assert_eq!(action(Operation::Create, &failure), Action::Retry),
        }
    }
    let reply = stripe.create(LANE, &body, "key").await.unwrap();
    made.insert(reply.value.stripe_id);
    assert_eq!((made.len(), running.sandbox.customer_count()), (1, 1));
}

#[tokio::test]
async fn a_deleted_customer_says_so_and_is_neither_updated_nor_deleted_again() {
    let (_running, stripe) = sandbox().await;
    let copy = create(&stripe, &fields("bob@example.com", "Bob")).await;
    stripe.delete(LANE, &copy.stripe_id).await.unwrap();
    let read = stripe.retrieve(LANE, &copy.stripe_id).await.unwrap().value;
    assert!(read.deleted);
    assert_eq!(read.fields, Fields::default());
    let failure = stripe
        .update(LANE, &copy.stripe_id, "name=x", "key")
        .await
        .unwrap_err();
    assert_eq!(action(Operation::Update, &failure), Action::Gone);
    let failure = stripe.delete(LANE, &copy.stripe_id).await.unwrap_err();
    assert_eq!(action(Operation::Delete, &failure), Action::Gone);
    let failure = stripe.retrieve(LANE, "cus_unknown").await.unwrap_err();
    let unknown = Action::Park {
        reason: "unknown_in_stripe",
    };
    assert_eq!(action(Operation::Read, &failure), unknown);
}

#[tokio::test]
async fn a_refused_address_names_the_field_and_is_logged_nowhere() {
    let (_running, stripe) = sandbox().await;
    let failure = stripe
        .create(LANE, "email=nobody", "key")
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::Answered, Some(400))
    );
    assert_eq!(failure.param.as_deref(), Some("email"));
    assert!(failure.message.contains("nobody"), "a person may see it");
    assert!(!format!("{failure} {failure:?}").contains("nobody"));
    assert!(failure.request_id.is_some());
    let rejected = Action::Park { reason: "rejected" };
    assert_eq!(action(Operation::Create, &failure), rejected);
}

#[tokio::test]
async fn pages_go_on_from_their_cursor_and_miss_nobody() {
    let (_running, stripe) = sandbox().await;
    let mut made = Vec::new();
    for number in 0..7 {
        let email = format!("bob{number}@example.com");
        made.push(create(&stripe, &fields(&email, "Bob")).await.stripe_id);
    }
    let mut page = ListPage {
        limit: 3,
        ..ListPage::default()
    };
    let mut read = Vec::new();
    loop {
        let part = stripe.list(Lane::Downsync, &page).await.unwrap().value;
        assert!(part.items.len() <= 3);
        read.extend(part.items.into_iter().map(|copy| copy.stripe_id));
        page.starting_after = part.cursor;
        if !part.has_more {
            break;
        }
    }
    made.reverse();
    assert_eq!(read, made, "newest first");
}

#[tokio::test]
async fn a_list_is_filtered_by_the_exact_address_and_by_time() {
    let (_running, stripe) = sandbox().await;
    let bob = create(&stripe, &fields("Bob+1@example.com", "Bob")).await;
    create(&stripe, &fields("bob+1@example.com", "Other")).await;
    let page = ListPage {
        email: Some("Bob+1@example.com".to_owned()),
        ..ListPage::default()
    };
    let found = stripe.list(LANE, &page).await.unwrap().value;
    assert_eq!((found.items, found.has_more), (vec![bob.clone()], false));
    let count = async |gte, lte| {
        let page = ListPage {
            created_gte: gte,
            created_lte: lte,
            ..ListPage::default()
        };
        stripe.list(LANE, &page).await.unwrap().value.items.len()
    };
    assert_eq!(
        count(Some(bob.created - 60), Some(bob.created + 60)).await,
        2
    );
    assert_eq!(count(None, Some(bob.created - 60)).await, 0);
    assert_eq!(count(Some(bob.created + 60), None).await, 0);
}

#[tokio::test]
async fn events_tell_what_happened_to_customers() {
    let (running, stripe) = sandbox().await;
    let copy = create(&stripe, &fields("bob@example.com", "Bob")).await;
    running
        .sandbox
        .edit_as_human(&copy.stripe_id, &[("name", "Rob")])
        .unwrap();
    stripe.delete(LANE, &copy.stripe_id).await.unwrap();
    let page = stripe
        .events(Lane::Downsync, &EventPage::default())
        .await
        .unwrap()
        .value;
    let kinds: Vec<_> = page.items.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["customer.deleted", "customer.updated", "customer.created"]
    );
    assert!(
        page.items
            .iter()
            .all(|event| event.stripe_id == copy.stripe_id)
    );
    let shown = |place: usize| page.items[place].copy.as_ref().unwrap();
    assert_eq!(shown(1).fields.name.as_deref(), Some("Rob"));
    assert_eq!(
        shown(2).stamps,
        copy.stamps,
        "our own echo is known by its stamps"
    );
    assert_eq!(page.cursor, Some(page.items[2].id.clone()));
    let rest = EventPage {
        starting_after: page.cursor,
        ..EventPage::default()
    };
    let rest = stripe.events(Lane::Downsync, &rest).await.unwrap().value;
    assert_eq!(
        (rest.items.len(), rest.has_more, rest.cursor),
        (0, false, None)
    );
}

#[tokio::test]
async fn the_account_and_its_mode_are_known() {
    let (running, stripe) = sandbox().await;
    let own = stripe.account(LANE).await.unwrap().value;
    assert_eq!(
        (own.id.as_str(), own.livemode),
        (running.sandbox.options().account_id.as_str(), Some(false))
    );
    running
        .sandbox
        .inject(Fault::once("GET /v1/account", Kind::OtherAccount));
    assert_ne!(stripe.account(LANE).await.unwrap().value.id, own.id);
}

#[tokio::test]
async fn a_broken_item_and_unknown_members_spoil_no_page() {
    let (running, stripe) = sandbox().await;
    for number in 0..3 {
        create(&stripe, &fields(&format!("bob{number}@example.com"), "Bob")).await;
    }
    let inject = |kind| {
        running
            .sandbox
            .inject(Fault::once("GET /v1/customers", kind))
    };
    inject(Kind::BrokenItem);
    let page = stripe.list(LANE, &ListPage::default()).await.unwrap().value;
    let unreadable = page.items.iter().filter(|copy| copy.unreadable).count();
    assert_eq!((page.items.len(), unreadable), (3, 1));
    inject(Kind::UnknownFields);
    let page = stripe.list(LANE, &ListPage::default()).await.unwrap().value;
    assert_eq!(page.items.len(), 3);
    inject(Kind::EmptyPage);
    let page = stripe.list(LANE, &ListPage::default()).await.unwrap().value;
    assert_eq!(
        (page.items.len(), page.has_more, page.cursor),
        (0, true, None)
    );
}

#[tokio::test]
async fn a_typed_request_of_async_stripe_goes_through_our_transport() {
    let (running, stripe) = sandbox().await;
    let made = CreateCustomer::new()
        .email("bob@example.com")
        .send(&stripe)
        .await
        .unwrap();
    let list = ListCustomer::new()
        .email("bob@example.com")
        .send(&stripe)
        .await
        .unwrap();
    assert_eq!(list.data.len(), 1);
    assert_eq!(list.data[0].id, made.id);
    assert_eq!(running.sandbox.customer_count(), 1);
    let failure = CreateCustomer::new()
        .email("nobody")
        .send(&stripe)
        .await
        .unwrap_err();
    assert_eq!(failure.param.as_deref(), Some("email"));
}
