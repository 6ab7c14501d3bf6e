//! Conflicts.

use std::time::Duration;

use entity::conflict::{ActiveModel, Winner};
use entity::fields::Fields;
use platform::test_support::each_database;
use sea_orm::ActiveModelTrait;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{id_of, link, link_of, listed, pages};
use crate::client::{Api, path_of};

const CONFLICTS: &str = "/api/v1/conflicts";

/// A conflict of a customer that is called Bob here, as the worker would have written it.
async fn clash(api: &Api, customer_id: Uuid, field: &str, winner: Winner) -> String {
    let now = api.now().await;
    let row = ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(customer_id),
        field: Set(field.to_owned()),
        base: Set(Some("Base".to_owned())),
        database_value: Set(Some("Bob".to_owned())),
        stripe_value: Set(Some("Bobby".to_owned())),
        winner: Set(winner),
        rev: Set(Some(1)),
        created_at: Set(now),
        resolved_at: Set((winner != Winner::Open).then_some(now)),
        ..Default::default()
    };
    row.insert(&api.db).await.unwrap().id.to_string()
}

async fn linked(api: &Api, email: &str) -> (Value, Uuid) {
    let customer = api.created(email).await;
    let id = id_of(&customer);
    let base = Fields {
        email: Some(email.to_owned()),
        name: Some("Base".to_owned()),
        ..Fields::default()
    };
    link(api, id, |row| {
        row.base = Set(Some(base));
        row.synced_rev = Set(1);
    })
    .await;
    (customer, id)
}

#[tokio::test]
async fn it_shows_both_values_and_what_can_be_done() {
    each_database(async |database| {
        let api = Api::on(database);
        let (customer, id) = linked(&api, "bob@example.com").await;
        let conflict = clash(&api, id, "name", Winner::Open).await;
        let path = format!("{CONFLICTS}/{conflict}");
        let edit = json!({"name": "Robert"});
        api.call("PATCH", &path_of(&customer), edit).await.expect(200);
        let shown = api.get(&path).await;
        assert_eq!(shown.header("etag"), "\"2\"");
        let item = shown.expect(200);
        let next_step = item["next_step"].as_str().unwrap();
        assert!(next_step.starts_with("Resolve it"), "{next_step}");
        let expected = json!({
            "id": conflict, "customer_id": customer["id"], "state": "open", "field": "name", "base": "Base",
            "database": "Robert", "stripe": "Bobby", "winner": null, "decided_by_person": false,
            "next_step": next_step, "rev": 1, "customer_rev": 2, "since": item["since"],
            "resolved_at": null, "dismissed_at": null,
        });
        assert_eq!(item, expected);
    })
    .await;
}

#[tokio::test]
async fn lists_are_by_page_by_state_by_field_and_by_customer() {
    each_database(async |database| {
        let api = Api::on(database);
        let (customer, bob) = linked(&api, "bob@example.com").await;
        let (_, al) = linked(&api, "al@example.com").await;
        let mut open = Vec::new();
        for number in 0..5 {
            let field = ["name", "phone"][number % 2];
            open.push(clash(&api, bob, field, Winner::Open).await);
            if number % 2 == 1 {
                api.later(Duration::from_secs(1)).await;
            }
        }
        open.reverse();
        let decided = clash(&api, al, "name", Winner::Stripe).await;
        let seen = pages(&api, CONFLICTS, 2).await;
        let seen: Vec<_> = seen
            .iter()
            .map(|item| item["id"].as_str().unwrap())
            .collect();
        assert_eq!(seen, open);
        let dismiss = format!("{CONFLICTS}/{}/dismiss", open[0]);
        let dismissed = api.call("POST", &dismiss, json!({})).await.expect(200);
        assert_eq!(dismissed["state"], "dismissed");
        assert_eq!(
            api.call("POST", &dismiss, json!({})).await.expect(200),
            dismissed
        );
        let cases: [(&str, &[String]); 6] = [
            ("", &open[1..]),
            ("state=resolved", std::slice::from_ref(&decided)),
            ("state=dismissed", &open[..1]),
            ("field=phone", &[open[1].clone(), open[3].clone()]),
            (
                "customer=al@example.com&state=resolved",
                std::slice::from_ref(&decided),
            ),
            ("customer=al@example.com", &[]),
        ];
        for (query, expected) in cases {
            let found = listed(&api, &format!("{CONFLICTS}?{query}"), "id").await;
            assert_eq!(found, expected, "{query}");
        }
        // Of a customer that is deleted nothing waits any more.
        api.delete(&path_of(&customer), &[]).await.expect(200);
        assert!(listed(&api, CONFLICTS, "id").await.is_empty());
        let resolve = format!("{CONFLICTS}/{}/resolve", open[1]);
        let refused = api.call("POST", &resolve, json!({"side": "stripe"})).await;
        refused.problem(409, "outdated");
    })
    .await;
}

/// A11
#[tokio::test]
async fn a_choice_is_a_change_of_ours_made_once() {
    each_database(async |database| {
        let api = Api::on(database);
        for (number, winner, side, name) in [
            (0, Winner::Open, "database", "Bob"),
            (1, Winner::Open, "stripe", "Bobby"),
            (2, Winner::Database, "stripe", "Bobby"),
        ] {
            let (_, id) = linked(&api, &format!("c{number}@example.com")).await;
            let conflict = clash(&api, id, "name", winner).await;
            let before = api.outbox().await.len();
            let path = format!("{CONFLICTS}/{conflict}/resolve");
            let done = api.call("POST", &path, json!({"side": side})).await;
            let item = done.expect(200);
            assert_eq!(done.header("etag"), "\"2\"");
            assert_eq!(
                (&item["state"], &item["winner"]),
                (&json!("resolved"), &json!(side))
            );
            assert_eq!(item["decided_by_person"], true);
            let outbox = api.outbox().await;
            assert_eq!(outbox.len(), before + 1);
            assert_eq!(outbox.last().unwrap().payload["name"], name);
            let base = link_of(&api, id).await.base.unwrap().name.unwrap();
            let expected = if winner == Winner::Open {
                "Bobby"
            } else {
                "Base"
            };
            assert_eq!(base, expected);

            let again = api.call("POST", &path, json!({"side": side})).await;
            assert_eq!(again.expect(200), item);
            let other = if side == "stripe" {
                "database"
            } else {
                "stripe"
            };
            let late = api.call("POST", &path, json!({"side": other})).await;
            late.problem(409, "already_decided");
            assert_eq!(api.outbox().await.len(), before + 1);
        }
    })
    .await;
}

/// A11: it agrees with the field's owner, so there is nothing to write.
#[tokio::test]
async fn a_choice_of_what_holds_already_writes_no_change() {
    each_database(async |database| {
        let api = Api::on(database);
        let (_, id) = linked(&api, "bob@example.com").await;
        let conflict = clash(&api, id, "name", Winner::Database).await;
        let path = format!("{CONFLICTS}/{conflict}/resolve");
        let done = api.call("POST", &path, json!({"side": "database"})).await;
        assert_eq!(done.expect(200)["customer_rev"], 1);
        assert_eq!(api.outbox().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_chosen_is_refused_and_changes_nothing() {
    each_database(async |database| {
        let api = Api::on(database);
        let (customer, id) = linked(&api, "bob@example.com").await;
        api.created("bobby@example.com").await;
        let decided = clash(&api, id, "name", Winner::Database).await;
        let email = clash(&api, id, "email", Winner::Open).await;
        let resolve = |id: &str| format!("{CONFLICTS}/{id}/resolve");
        // "Bobby" is no e-mail.
        let refused = api
            .call("POST", &resolve(&email), json!({"side": "stripe"}))
            .await;
        refused.problem(409, "not_possible");
        let mut taken = ActiveModel {
            id: Set(email.parse().unwrap()),
            ..Default::default()
        };
        taken.stripe_value = Set(Some("bobby@example.com".to_owned()));
        taken.update(&api.db).await.unwrap();
        let refused = api
            .call("POST", &resolve(&email), json!({"side": "stripe"}))
            .await;
        assert_eq!(refused.fault(409, "email_taken"), "email");
        let edit = json!({"name": "Robert"});
        api.call("PATCH", &path_of(&customer), edit)
            .await
            .expect(200);
        for side in ["database", "stripe"] {
            let refused = api
                .call("POST", &resolve(&decided), json!({"side": side}))
                .await;
            refused.problem(409, "outdated");
        }
        let headers = [("if-match", "\"1\"")];
        for path in [resolve(&email), format!("{CONFLICTS}/{email}/dismiss")] {
            let body = json!({"side": "database"});
            let refused = api.call_with("POST", &path, body, &headers).await;
            assert_eq!(refused.fault(412, "precondition_failed"), "If-Match");
        }
        let refused = api
            .call("POST", &resolve(&email), json!({"side": ""}))
            .await;
        assert_eq!(refused.fault(422, "validation_failed"), "side");
        let item = api.get(&format!("{CONFLICTS}/{email}")).await.expect(200);
        assert_eq!(item["state"], "open");
        assert_eq!(api.outbox().await.len(), 3);
    })
    .await;
}

/// A11
#[tokio::test(flavor = "multi_thread")]
async fn of_two_resolves_at_once_one_decides() {
    each_database(async |database| {
        let api = Api::on(database);
        for (number, sides, statuses) in [
            (0, ["database", "stripe"], [200, 409]),
            (1, ["stripe", "stripe"], [200, 200]),
        ] {
            let (_, id) = linked(&api, &format!("c{number}@example.com")).await;
            let conflict = clash(&api, id, "name", Winner::Open).await;
            let path = format!("{CONFLICTS}/{conflict}/resolve");
            let [one, two] = sides.map(|side| api.call("POST", &path, json!({"side": side})));
            let (one, two) = tokio::join!(one, two);
            let mut found = [one.status, two.status];
            found.sort_unstable();
            assert_eq!(found, statuses);
            let rows = api.outbox().await;
            assert_eq!(rows.iter().filter(|row| row.customer_id == id).count(), 2);
        }
    })
    .await;
}
