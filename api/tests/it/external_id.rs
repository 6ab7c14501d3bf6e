//! The id that an application has for a customer, and Stripe's where it is known.

use platform::test_support::each_database;
use serde_json::json;

use crate::client::{Api, CUSTOMERS, path_of};

#[tokio::test]
async fn external_id_is_created_found_changed_and_cleared() {
    each_database(async |database| {
        let api = Api::on(database);
        let body = json!({"email": "bob@example.com", "external_id": " User 42 "});
        let customer = api.call("POST", CUSTOMERS, body).await.expect(201);
        assert_eq!(customer["external_id"], "User 42");
        api.created("al@example.com").await;
        let found = async |id: &str| {
            let page = api.get(&format!("{CUSTOMERS}?external_id={id}")).await;
            let page = page.expect(200);
            let ids = page["data"].as_array().unwrap().iter();
            ids.map(|one| one["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(found("User%2042").await, [customer["id"].clone()]);
        assert!(found("user%2042").await.is_empty(), "case counts");

        let path = path_of(&customer);
        let patch = async |body| api.call("PATCH", &path, body).await.expect(200);
        let named = patch(json!({"name": "Robert"})).await;
        assert_eq!(named["external_id"], "User 42");
        let changed = patch(json!({"external_id": "43"})).await;
        assert_eq!(
            (&changed["external_id"], &changed["rev"]),
            (&json!("43"), &json!(3))
        );
        assert_eq!(patch(json!({"external_id": "43"})).await["rev"], 3);
        assert_eq!(
            patch(json!({"external_id": null})).await["external_id"],
            json!(null)
        );
        let outbox = api.outbox().await;
        let of = |rev| outbox.iter().find(|row| row.rev == rev).unwrap();
        let fields = serde_json::to_value(&of(3).fields).unwrap();
        assert_eq!(fields, json!(["external_id"]));
        assert_eq!(of(3).payload["external_id"], "43");
        let created = serde_json::to_value(&outbox[0].fields).unwrap();
        assert_eq!(created, json!(["email", "external_id"]));
    })
    .await;
}

#[tokio::test]
async fn external_id_is_unique_among_living_customers() {
    each_database(async |database| {
        let api = Api::on(database);
        let body = |email: &str| json!({"email": email, "external_id": "42"});
        let first = api.call("POST", CUSTOMERS, body("bob@example.com")).await;
        let first = first.expect(201);
        let key = [("idempotency-key", "k")];
        for headers in [&[][..], &key] {
            let second = body("al@example.com");
            let refused = api.call_with("POST", CUSTOMERS, second, headers).await;
            assert_eq!(refused.fault(409, "external_id_taken"), "external_id");
        }
        let other = api.created("al@example.com").await;
        let patch = json!({"external_id": "42"});
        let refused = api.call("PATCH", &path_of(&other), patch.clone()).await;
        refused.fault(409, "external_id_taken");
        api.delete(&path_of(&first), &[]).await.expect(200);
        let patched = api.call("PATCH", &path_of(&other), patch).await;
        assert_eq!(patched.expect(200)["external_id"], "42");
    })
    .await;
}

#[tokio::test]
async fn ids_that_cannot_be_stored_are_named() {
    each_database(async |database| {
        let api = Api::on(database);
        for (member, text) in [
            ("external_id", "a\u{7}b"),
            ("external_id", &"x".repeat(256)),
            ("stripe_id", "acct_1"),
            ("stripe_id", "cus_a b"),
        ] {
            let body = json!({"email": "bob@example.com", member: text});
            let refused = api.call("POST", CUSTOMERS, body).await;
            assert_eq!(refused.fault(422, "validation_failed"), member);
        }
        let body = json!({"email": "bob@example.com", "external_id": "", "stripe_id": null});
        let customer = api.call("POST", CUSTOMERS, body).await.expect(201);
        assert_eq!(customer["external_id"], json!(null));
        let refused = api.get(&format!("{CUSTOMERS}?external_id=%20")).await;
        refused.fault(422, "validation_failed");
    })
    .await;
}

#[tokio::test]
async fn stripe_id_is_given_to_one_customer() {
    each_database(async |database| {
        let api = Api::on(database);
        let body = |email: &str| json!({"email": email, "stripe_id": "cus_known"});
        let key = [("idempotency-key", "k")];
        let first = api
            .call_with("POST", CUSTOMERS, body("bob@example.com"), &key)
            .await;
        let customer = first.expect(201);
        assert_eq!(customer["stripe_id"], "cus_known");
        let again = api
            .call_with("POST", CUSTOMERS, body("bob@example.com"), &key)
            .await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        let read = api.get(&path_of(&customer)).await.expect(200);
        assert_eq!(read, customer);
        let refused = api.call("POST", CUSTOMERS, body("al@example.com")).await;
        assert_eq!(refused.fault(409, "already_linked"), "stripe_id");
        assert_eq!(api.customers().await.len(), 1);
    })
    .await;
}
