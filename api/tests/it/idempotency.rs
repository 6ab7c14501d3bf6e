//! `Idempotency-Key`: one effect, one answer, for 24 hours.

use std::time::Duration;

use api::{KEPT, prune_once};
use entity::api_idempotency;
use platform::test_support::each_database;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::json;

use crate::client::{Api, CUSTOMERS};

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_has_no_second_effect() {
    each_database(async |database| {
        let api = Api::on(database);
        let headers = [("idempotency-key", "order-1")];
        let body = json!({"email": "bob@example.com", "name": "Bob"});
        let first = api
            .call_with("POST", CUSTOMERS, body.clone(), &headers)
            .await;
        first.expect(201);
        assert!(!first.headers.contains_key("idempotent-replayed"));
        api.call("PATCH", first.header("location"), json!({"name": "Robert"}))
            .await
            .expect(200);
        api.later(KEPT - Duration::from_secs(1)).await;
        // Other spacing and another order of the members are the same request.
        let same = json!({"name": " Bob ", "email": " bob@example.com"});
        for body in [body, same] {
            let again = api.call_with("POST", CUSTOMERS, body, &headers).await;
            assert_eq!((again.status, &again.text), (201, &first.text));
            assert_eq!(again.header("idempotent-replayed"), "true");
            for header in ["etag", "location", "content-type"] {
                assert_eq!(again.header(header), first.header(header));
            }
        }
        assert_eq!(api.customers().await.len(), 1);
        assert_eq!(api.outbox().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_comes_with_another_request_is_refused() {
    each_database(async |database| {
        let api = Api::on(database);
        let headers = [("idempotency-key", "order-1")];
        let body = json!({"email": "bob@example.com"});
        api.call_with("POST", CUSTOMERS, body, &headers)
            .await
            .expect(201);
        for email in ["al@example.com", "BOB@example.com"] {
            let refused = api
                .call_with("POST", CUSTOMERS, json!({"email": email}), &headers)
                .await;
            assert_eq!(
                refused.fault(422, "idempotency_key_reused"),
                "Idempotency-Key"
            );
        }
        assert_eq!(api.customers().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_keeps_nothing_and_may_be_sent_again() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("bob@example.com").await;
        let headers = [("idempotency-key", "order-1")];
        let body = json!({"email": "bob@example.com"});
        let refused = api
            .call_with("POST", CUSTOMERS, body.clone(), &headers)
            .await;
        refused.problem(409, "email_taken");
        api.delete(&format!("{CUSTOMERS}/bob@example.com"), &[])
            .await
            .expect(200);
        let created = api.call_with("POST", CUSTOMERS, body, &headers).await;
        created.expect(201);
        assert!(!created.headers.contains_key("idempotent-replayed"));
    })
    .await;
}

#[tokio::test]
async fn a_key_means_nothing_after_24_hours_and_is_pruned() {
    each_database(async |database| {
        let api = Api::on(database);
        let send = async |key: &str, email: &str| {
            let headers = [("idempotency-key", key)];
            api.call_with("POST", CUSTOMERS, json!({"email": email}), &headers)
                .await
        };
        send("order-1", "a@example.com").await.expect(201);
        send("order-2", "b@example.com").await.expect(201);
        api.later(KEPT).await;
        send("order-1", "c@example.com").await.expect(201);
        assert_eq!(prune_once(&api.db, api.now().await).await.unwrap(), 1);
        assert_eq!(prune_once(&api.db, api.now().await).await.unwrap(), 0);
        let kept = api_idempotency::Entity::find()
            .count(&api.db)
            .await
            .unwrap();
        assert_eq!(kept, 1);
        send("order-1", "c@example.com").await.expect(201);
        send("order-2", "b@example.com")
            .await
            .problem(409, "email_taken");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_can_not_be_one_is_refused() {
    each_database(async |database| {
        let api = Api::on(database);
        let long = "k".repeat(256);
        for bad in ["", "a b", "clé", &long] {
            let headers = [("idempotency-key", bad)];
            let body = json!({"email": "bob@example.com"});
            let refused = api.call_with("POST", CUSTOMERS, body, &headers).await;
            assert_eq!(refused.fault(400, "malformed_request"), "Idempotency-Key");
        }
        assert!(api.customers().await.is_empty());
    })
    .await;
}
