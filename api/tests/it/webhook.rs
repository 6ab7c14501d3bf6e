//! What Stripe sends: who may send it, and what becomes of it.

use entity::stripe_event;
use futures_util::FutureExt;
use hmac::{Hmac, Mac};
use platform::test_support::{each_database, sqlite};
use poem::Body;
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::client::{Api, Reply, builder, start};

const PATH: &str = "/stripe/webhook";

fn sign(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()))
}

async fn post(api: &Api, signature: &str, body: &str) -> Reply {
    let request = builder("POST", PATH, &[("stripe-signature", signature)]);
    let body = Body::from_string(body.to_owned());
    api.send(request.content_type("application/json").body(body))
        .await
}

/// As Stripe sends it.
async fn sent(api: &Api, event: &Value) -> Reply {
    let body = event.to_string();
    post(api, &sign("whsec_new", start().timestamp(), &body), &body).await
}

fn updated(id: &str) -> Value {
    json!({
        "id": id, "object": "event", "type": "customer.updated", "created": 5,
        "data": {"object": {
            "id": "cus_1", "object": "customer", "created": 1, "email": "bob@x.com", "name": "Bob",
            "metadata": {"customer_sync_rev_name": "3-1a2b3c4d-0123456789abcdef"},
        }},
    })
}

async fn inbox(api: &Api) -> Vec<stripe_event::Model> {
    stripe_event::Entity::find().all(&api.db).await.unwrap()
}

/// A38: Stripe delivers at least once.
#[tokio::test]
async fn an_event_is_in_the_inbox_once_however_often_it_comes() {
    each_database(async |database| {
        let api = Api::on(database);
        for _ in 0..3 {
            assert_eq!(sent(&api, &updated("evt_1")).await.status, 200);
        }
        assert_eq!(sent(&api, &updated("evt_2")).await.status, 200);
        let events = inbox(&api).await;
        assert_eq!(events.len(), 2);
        let event = &events[0];
        assert_eq!(
            (event.kind.as_str(), event.stripe_id.as_str(), event.created),
            ("customer.updated", "cus_1", 5)
        );
        assert_eq!(event.processed_at, None);
        let shown = event.copy.as_ref().unwrap();
        assert_eq!(shown["fields"]["name"], "Bob");
    })
    .await;
}

#[tokio::test]
async fn a_new_event_wakes_the_worker_and_one_that_is_known_or_of_no_interest_does_not() {
    let api = Api::on(sqlite().await);
    assert_eq!(sent(&api, &updated("evt_1")).await.status, 200);
    assert!(api.inbox.woken().now_or_never().is_some());
    assert_eq!(sent(&api, &updated("evt_1")).await.status, 200);
    let mut other = updated("evt_2");
    other["type"] = "invoice.paid".into();
    assert_eq!(sent(&api, &other).await.status, 200);
    assert!(api.inbox.woken().now_or_never().is_none());
    assert!(api.wake.woken().now_or_never().is_none());
}

/// A44: unsigned, wrong, stale, from the future, another body; and any secret and any signature of several will do.
#[tokio::test]
async fn only_what_stripe_has_signed_just_now_is_taken() {
    let api = Api::on(sqlite().await);
    let now = start().timestamp();
    let body = updated("evt_1").to_string();
    let good = sign("whsec_new", now, &body);
    let bad = [
        String::new(),
        sign("whsec_guess", now, &body),
        sign("whsec_new", now - 301, &body),
        sign("whsec_new", now + 301, &body),
        sign("whsec_new", now, &format!("{body} ")),
        good.replace("v1=", "v0="),
    ];
    for signature in &bad {
        let refused = post(&api, signature, &body).await.expect(400);
        assert_eq!(refused["code"], "invalid_signature", "{signature}");
        assert_eq!(refused["field"], "Stripe-Signature");
    }
    let unsigned = api
        .send(builder("POST", PATH, &[]).body(body.clone()))
        .await;
    assert_eq!(unsigned.expect(400)["code"], "invalid_signature");
    assert!(inbox(&api).await.is_empty());
    let rolled = format!(
        "{},v1={}",
        sign("whsec_gone", now, &body),
        &good[good.len() - 64..]
    );
    let old = sign("whsec_old", now - 300, &body);
    for signature in [good, rolled, old] {
        assert_eq!(post(&api, &signature, &body).await.status, 200);
    }
    assert_eq!(inbox(&api).await.len(), 1);
}

/// A44: a megabyte, no JSON, JSON that names nobody.
#[tokio::test]
async fn a_body_that_is_no_event_is_refused_and_stores_nothing() {
    let api = Api::on(sqlite().await);
    let now = start().timestamp();
    let nobody = json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {}}});
    let cases = [
        ("x".repeat(1024 * 1024), 413, "payload_too_large"),
        ("{".to_owned(), 400, "malformed_json"),
        ("[]".to_owned(), 400, "malformed_json"),
        ("{}".to_owned(), 422, "validation_failed"),
        (nobody.to_string(), 422, "validation_failed"),
    ];
    for (body, status, code) in cases {
        let reply = post(&api, &sign("whsec_new", now, &body), &body).await;
        assert_eq!(reply.expect(status)["code"], code);
    }
    assert!(inbox(&api).await.is_empty());
}

/// A45: types are compared whole. What is of no interest is taken, or Stripe would send it again and again.
#[tokio::test]
async fn other_types_that_begin_alike_are_taken_and_ignored() {
    let api = Api::on(sqlite().await);
    for kind in [
        "customer.subscription.updated",
        "customer.source.created",
        "customer.tax_id.deleted",
        "customer.updated.later",
        "customer",
        "invoice.paid",
        "v1.customer.updated",
    ] {
        let mut event = updated("evt_1");
        event["type"] = json!(kind);
        assert_eq!(sent(&api, &event).await.status, 200, "{kind}");
    }
    assert!(inbox(&api).await.is_empty());
}

/// Another mode's or account's endpoint may send to the same URL.
#[tokio::test]
async fn events_of_another_mode_or_account_are_taken_and_not_stored() {
    let api = Api::on(sqlite().await);
    let mut live = updated("evt_1");
    live["livemode"] = json!(true);
    let mut connected = updated("evt_2");
    connected["account"] = json!("acct_connected");
    let thin = json!({
        "id": "evt_3", "object": "v2.core.event", "type": "v1.customer.updated", "livemode": true,
        "created": "2026-01-02T03:04:05.000Z", "related_object": {"id": "cus_1", "type": "customer"},
    });
    api.db
        .execute_unprepared(
            "INSERT INTO downsync_state (id, account_id, livemode, updated_at) \
             VALUES (1, 'acct_1', false, '2026-01-02 03:04:05+00:00')",
        )
        .await
        .unwrap();
    for event in [&live, &connected, &thin] {
        assert_eq!(sent(&api, event).await.status, 200);
    }
    assert!(inbox(&api).await.is_empty());
    let mut own = updated("evt_4");
    own["livemode"] = json!(false);
    own["account"] = json!("acct_1");
    assert_eq!(sent(&api, &own).await.status, 200);
    assert_eq!(inbox(&api).await.len(), 1);
}

/// A47: a thin event shows no customer; it says which one to read.
#[tokio::test]
async fn a_thin_event_says_which_customer_to_read() {
    let api = Api::on(sqlite().await);
    let mut event = json!({
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.customer.deleted",
        "created": "2026-01-02T03:04:05.000Z",
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"},
    });
    assert_eq!(sent(&api, &event).await.status, 200);
    let stored = inbox(&api).await.remove(0);
    assert_eq!(
        (stored.kind.as_str(), stored.stripe_id.as_str(), stored.copy),
        ("customer.deleted", "cus_1", None)
    );
    assert_eq!(stored.created, start().timestamp());
    event["type"] = json!("v1.customer.subscription.updated");
    event["id"] = json!("evt_other");
    assert_eq!(sent(&api, &event).await.status, 200);
    assert_eq!(inbox(&api).await.len(), 1);
}

/// A46: what cannot be read of the customer is left out, and the event is taken all the same.
#[tokio::test]
async fn an_event_in_another_versions_form_is_taken() {
    let api = Api::on(sqlite().await);
    let mut event = updated("evt_1");
    event["data"]["object"]["name"] = json!({"first": "Bob"});
    event["created"] = json!("yesterday");
    assert_eq!(sent(&api, &event).await.status, 200);
    assert_eq!(inbox(&api).await[0].copy, None);
}

#[tokio::test]
async fn a_database_that_is_away_makes_stripe_send_it_again() {
    let api = Api::on(sqlite().await);
    let hide = "ALTER TABLE stripe_event RENAME TO away";
    api.db.execute_unprepared(hide).await.unwrap();
    assert!(sent(&api, &updated("evt_1")).await.status >= 500);
    let show = "ALTER TABLE away RENAME TO stripe_event";
    api.db.execute_unprepared(show).await.unwrap();
    assert_eq!(sent(&api, &updated("evt_1")).await.status, 200);
    assert_eq!(inbox(&api).await.len(), 1);
}

#[tokio::test]
async fn keys_of_the_api_are_not_asked_for_and_other_methods_are_refused() {
    let api = Api::with_keys(sqlite().await, "secret");
    assert_eq!(sent(&api, &updated("evt_1")).await.status, 200);
    let refused = api.get(PATH).await;
    assert_eq!(refused.headers["allow"], "POST");
    assert_eq!(refused.expect(405)["code"], "method_not_allowed");
}

#[tokio::test]
async fn without_a_secret_no_event_is_accepted() {
    let api = Api::without_webhooks(sqlite().await);
    let body = updated("evt_1").to_string();
    for secret in ["whsec_new", ""] {
        let signature = sign(secret, start().timestamp(), &body);
        let refused = post(&api, &signature, &body).await;
        refused.problem(404, "not_found");
    }
    assert!(inbox(&api).await.is_empty());
}
