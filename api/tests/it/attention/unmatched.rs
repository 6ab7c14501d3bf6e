//! Customers of Stripe's without a customer here.

use std::time::Duration;

use entity::unmatched::{ActiveModel, Reason};
use platform::test_support::each_database;
use sea_orm::ActiveModelTrait;
use sea_orm::ActiveValue::Set;
use serde_json::json;
use uuid::Uuid;

use super::{id_of, link, listed, pages};
use crate::client::{Api, path_of};

const UNMATCHED: &str = "/api/v1/unmatched";

async fn entry(api: &Api, stripe_id: &str, reason: Reason, customer_id: Option<Uuid>) {
    let row = ActiveModel {
        stripe_id: Set(stripe_id.to_owned()),
        reason: Set(reason),
        email: Set((reason != Reason::NoEmail).then(|| "bob@example.com".to_owned())),
        customer_id: Set(customer_id),
        created_at: Set(api.now().await),
        ..Default::default()
    };
    row.insert(&api.db).await.unwrap();
}

#[tokio::test]
async fn lists_are_by_page_by_state_by_reason_and_by_customer() {
    each_database(async |database| {
        let api = Api::on(database);
        let bob = id_of(&api.created("bob@example.com").await);
        for number in 0..5 {
            let reason = [Reason::NoEmail, Reason::Review][number % 2];
            let customer = (reason == Reason::Review).then_some(bob);
            entry(&api, &format!("cus_{number}"), reason, customer).await;
            if number % 2 == 1 {
                api.later(Duration::from_secs(1)).await;
            }
        }
        let seen = pages(&api, UNMATCHED, 2).await;
        let seen: Vec<_> = seen.iter().map(|item| item["stripe_id"].as_str().unwrap()).collect();
        assert_eq!(seen, ["cus_4", "cus_3", "cus_2", "cus_1", "cus_0"]);
        let dismiss = format!("{UNMATCHED}/cus_4/dismiss");
        api.call("POST", &dismiss, json!({})).await.expect(200);
        for (query, expected) in [
            ("", ["cus_3", "cus_2", "cus_1", "cus_0"].as_slice()),
            ("state=dismissed", &["cus_4"]),
            ("reason=review", &["cus_3", "cus_1"]),
            ("reason=duplicate", &[]),
            ("customer=bob@example.com", &["cus_3", "cus_1"]),
        ] {
            let found = listed(&api, &format!("{UNMATCHED}?{query}"), "stripe_id").await;
            assert_eq!(found, expected, "{query}");
        }
        let item = api.get(&format!("{UNMATCHED}/cus_1")).await.expect(200);
        let next_step = item["next_step"].as_str().unwrap();
        assert!(next_step.contains("Link it"), "{next_step}");
        let expected = json!({
            "stripe_id": "cus_1", "reason": "review", "next_step": next_step, "email": "bob@example.com",
            "customer_id": bob, "link_to": null, "retry_at": null, "since": item["since"], "dismissed_at": null,
        });
        assert_eq!(item, expected);
    })
    .await;
}

/// A29, A32
#[tokio::test]
async fn decisions_are_written_down_for_the_worker() {
    each_database(async |database| {
        let api = Api::on(database);
        let bob = id_of(&api.created("bob@example.com").await);
        entry(&api, "cus_1", Reason::Review, Some(bob)).await;
        let act = async |action: &str, body| {
            let path = format!("{UNMATCHED}/cus_1/{action}");
            api.call("POST", &path, body).await
        };
        let retried = act("retry", json!({})).await.expect(200);
        assert!(retried["retry_at"].is_string());
        for _ in 0..2 {
            let linked = act("link", json!({"customer_id": bob})).await.expect(200);
            assert_eq!(linked["link_to"], json!(bob));
            assert!(linked["retry_at"].is_string());
        }
        let dismissed = act("dismiss", json!({})).await.expect(200);
        assert!(dismissed["dismissed_at"].is_string());
        assert_eq!(
            (&dismissed["link_to"], &dismissed["retry_at"]),
            (&json!(null), &json!(null))
        );
        let retried = act("retry", json!({})).await.expect(200);
        assert_eq!(retried["dismissed_at"], json!(null));
        assert_eq!(
            api.outbox().await.len(),
            1,
            "nothing of it is a change of the customer"
        );
    })
    .await;
}

/// A32
#[tokio::test]
async fn only_a_living_customer_that_is_not_in_stripe_can_be_linked() {
    each_database(async |database| {
        let api = Api::on(database);
        entry(&api, "cus_1", Reason::Review, None).await;
        let customer = api.created("bob@example.com").await;
        let deleted = api.created("al@example.com").await;
        api.delete(&path_of(&deleted), &[]).await.expect(200);
        link(&api, id_of(&customer), |_| {}).await;
        let path = format!("{UNMATCHED}/cus_1/link");
        let body = json!({"customer_id": customer["id"]});
        let refused = api.call("POST", &path, body).await;
        assert_eq!(refused.fault(409, "already_linked"), "customer_id");
        for id in [
            deleted["id"].clone(),
            json!(Uuid::now_v7()),
            json!("bob"),
            json!(null),
        ] {
            let refused = api.call("POST", &path, json!({"customer_id": id})).await;
            assert_eq!(refused.fault(422, "validation_failed"), "customer_id");
        }
        let body = json!({"customer_id": customer["id"], "force": "yes"});
        let refused = api.call("POST", &path, body).await;
        assert_eq!(refused.fault(422, "validation_failed"), "force");
    })
    .await;
}
