//! Parked customers.

use std::time::Duration;

use entity::fields::Fields;
use entity::stripe_link::{ActiveModel, Parked};
use platform::test_support::each_database;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{id_of, link, link_of, listed, pages};
use crate::client::{Api, path_of};

const PARKED: &str = "/api/v1/parked";

fn fields(email: &str, name: &str) -> Fields {
    Fields {
        email: Some(email.to_owned()),
        name: Some(name.to_owned()),
        ..Fields::default()
    }
}

fn park(row: &mut ActiveModel, api: &Api, reason: &str, stripe_value: Option<&str>) {
    let parked = Parked {
        reason: reason.to_owned(),
        detail: "what happened".to_owned(),
        rev: 1,
        request_id: Some("req_1".to_owned()),
        stripe_value: stripe_value.map(str::to_owned),
    };
    row.park(parked, api.clock.now());
}

/// A customer that is parked at its first rev, and was another one when both sides last agreed.
async fn parked(api: &Api, email: &str, reason: &str) -> (Value, Uuid, String) {
    let customer = api.created(email).await;
    let id = id_of(&customer);
    link(api, id, |row| {
        row.base = Set(Some(fields(email, "before")));
        park(row, api, reason, None);
    })
    .await;
    (customer, id, format!("{PARKED}/{id}"))
}

#[tokio::test]
async fn it_says_why_it_waits_what_both_sides_have_and_what_can_be_done() {
    each_database(async |database| {
        let api = Api::on(database);
        let (customer, id, path) = parked(&api, "bob@example.com", "email_invalid").await;
        let shown = api.get(&path).await;
        assert_eq!(shown.header("etag"), "\"1\"");
        let item = shown.expect(200);
        assert_eq!(item["reason"], "email_invalid");
        assert_eq!(item["detail"], "what happened");
        assert_eq!(item["request_id"], "req_1");
        assert_eq!(
            (&item["rev"], &item["customer_rev"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(item["since"], json!(link_of(&api, id).await.parked_at));
        assert!(item["next_step"].as_str().unwrap().contains("retry"));
        let values =
            json!([{"field": "name", "base": "before", "database": "Bob", "stripe": "before"}]);
        assert_eq!(item["values"], values);
        let by_email = api.get(&format!("{PARKED}/BOB@example.com")).await;
        assert_eq!(by_email.expect(200), item);
        assert_eq!(listed(&api, PARKED, "customer_id").await, [id.to_string()]);

        // An edit un-parks it.
        let edit = json!({"name": "Robert"});
        api.call("PATCH", &path_of(&customer), edit)
            .await
            .expect(200);
        api.get(&path).await.problem(404, "not_found");
        assert!(listed(&api, PARKED, "customer_id").await.is_empty());
        for action in ["retry", "dismiss"] {
            let late = api
                .call("POST", &format!("{path}/{action}"), json!({}))
                .await;
            late.problem(404, "not_found");
        }
    })
    .await;
}

/// A25, A29: the value that the row cannot take is shown.
#[tokio::test]
async fn the_address_that_stripe_has_is_shown() {
    each_database(async |database| {
        let api = Api::on(database);
        let id = id_of(&api.created("bob@example.com").await);
        link(&api, id, |row| {
            row.base = Set(Some(fields("bob@example.com", "Bob")));
            row.synced_rev = Set(1);
            park(row, &api, "email_taken", Some("al@example.com"));
        })
        .await;
        let item = api.get(&format!("{PARKED}/{id}")).await.expect(200);
        let values = json!([{
            "field": "email", "base": "bob@example.com", "database": "bob@example.com", "stripe": "al@example.com",
        }]);
        assert_eq!(item["values"], values);
    })
    .await;
}

#[tokio::test]
async fn lists_are_by_page_by_state_by_reason_and_by_customer() {
    each_database(async |database| {
        let api = Api::on(database);
        let mut ids = Vec::new();
        for number in 0..7 {
            let reason = ["rejected", "deleted_in_stripe"][number % 2];
            let email = format!("c{number}@example.com");
            ids.push(parked(&api, &email, reason).await.1.to_string());
            if number % 2 == 1 {
                api.later(Duration::from_secs(1)).await;
            }
        }
        ids.reverse();
        let seen: Vec<_> = pages(&api, PARKED, 3)
            .await
            .iter()
            .map(|item| item["customer_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(seen, ids);
        let dismissed = format!("{PARKED}/{}/dismiss", ids[0]);
        api.call("POST", &dismissed, json!({})).await.expect(200);
        let cases: [(&str, &[String]); 6] = [
            ("state=open", &ids[1..]),
            ("state=dismissed", &ids[..1]),
            ("reason=rejected&limit=2", &[ids[2].clone(), ids[4].clone()]),
            ("reason=unknown", &[]),
            ("customer=C1@example.com", &ids[5..6]),
            ("customer=nobody@example.com", &[]),
        ];
        for (query, expected) in cases {
            let found = listed(&api, &format!("{PARKED}?{query}"), "customer_id").await;
            assert_eq!(found, expected, "{query}");
        }
        let query = format!("{PARKED}?customer={}", ids[3]);
        assert_eq!(listed(&api, &query, "customer_id").await, ids[3..4]);
    })
    .await;
}

#[tokio::test]
async fn a_retry_is_due_at_once_on_the_way_that_it_came_from() {
    each_database(async |database| {
        let api = Api::on(database);
        for (reason, is_by_copy) in [
            ("rejected", false),
            ("unknown_in_stripe", false),
            ("link_review", false),
            ("email_taken", true),
            ("email_removed_in_stripe", true),
            ("email_invalid_in_stripe", true),
            ("deleted_in_stripe", true),
        ] {
            let email = format!("{reason}@example.com");
            let (_, id, path) = parked(&api, &email, reason).await;
            let done = api.call("POST", &format!("{path}/retry"), json!({})).await;
            assert_eq!(done.expect(200)["done"], "retried");
            let link = link_of(&api, id).await;
            let now = api.now().await;
            let is_due = |at: Option<_>| at.is_some_and(|at| at <= now);
            let is_parked = link.parked_reason.is_some();
            let found = (
                is_due(link.next_attempt_at),
                is_due(link.recheck_at),
                is_parked,
            );
            assert_eq!(found, (!is_by_copy, is_by_copy, is_by_copy), "{reason}");
        }
        assert_eq!(api.outbox().await.len(), 7, "the seven creates");
        let (_, _, path) = parked(&api, "held@example.com", "deletion_refused").await;
        let refused = api.call("POST", &format!("{path}/retry"), json!({})).await;
        refused.problem(409, "not_possible");
    })
    .await;
}

/// A3: the outbox has the decision like any other change.
#[tokio::test]
async fn a_side_that_is_chosen_is_a_change_of_ours() {
    each_database(async |database| {
        let api = Api::on(database);
        for (email, reason, side, name, deleted) in [
            ("a@x.io", "rejected", "database", "Bob", false),
            ("b@x.io", "rejected", "stripe", "before", false),
            ("c@x.io", "deleted_in_stripe", "database", "Bob", false),
            ("d@x.io", "deleted_in_stripe", "stripe", "Bob", true),
        ] {
            let (_, id, path) = parked(&api, email, reason).await;
            let before = api.outbox().await.len();
            let body = json!({"side": side});
            let done = api.call("POST", &format!("{path}/resolve"), body).await;
            let decision = done.expect(200);
            assert_eq!(done.header("etag"), "\"2\"");
            assert_eq!(
                (&decision["done"], &decision["deleted"]),
                (&json!("resolved"), &json!(deleted))
            );
            let outbox = api.outbox().await;
            assert_eq!(outbox.len(), before + 1);
            let last = outbox.last().unwrap();
            assert_eq!((last.customer_id, last.rev), (id, 2));
            assert!(last.traceparent.is_some());
            let rows = api.customers().await;
            let row = rows.iter().find(|row| row.id == id).unwrap();
            assert_eq!((row.rev, row.name.as_deref()), (2, Some(name)));
            assert_eq!(row.is_deleted(), deleted);
            let link = link_of(&api, id).await;
            assert_eq!(link.parked_reason, None);
            assert_eq!(
                link.stripe_id.is_none(),
                (reason, side) == ("deleted_in_stripe", "database")
            );
            api.call("POST", &format!("{path}/resolve"), json!({"side": side}))
                .await
                .problem(404, "not_found");
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_reason_does_not_allow_is_refused_and_changes_nothing() {
    each_database(async |database| {
        let api = Api::on(database);
        for (reason, side) in [
            ("link_review", "stripe"),
            ("unknown_in_stripe", "stripe"),
            ("email_removed_in_stripe", "stripe"),
            ("email_invalid_in_stripe", "stripe"),
            ("email_taken", "stripe"),
        ] {
            let email = format!("{reason}@example.com");
            let (_, id, path) = parked(&api, &email, reason).await;
            let before = link_of(&api, id).await;
            let body = json!({"side": side});
            let refused = api.call("POST", &format!("{path}/resolve"), body).await;
            refused.problem(409, "not_possible");
            assert_eq!(link_of(&api, id).await, before);
        }
        let (_, id, path) = parked(&api, "bob@example.com", "email_taken").await;
        let other = api.created("al@example.com").await;
        let mut taken: ActiveModel = link_of(&api, id).await.into();
        taken.parked_stripe_value = Set(other["email"].as_str().map(str::to_owned));
        sea_orm::ActiveModelTrait::update(taken, &api.db)
            .await
            .unwrap();
        let resolve = format!("{path}/resolve");
        let refused = api.call("POST", &resolve, json!({"side": "stripe"})).await;
        assert_eq!(refused.fault(409, "email_taken"), "email");
        for (body, field) in [
            (json!({}), "side"),
            (json!({"side": "both"}), "side"),
            (json!({"side": null}), "side"),
            (json!({"side": "stripe", "force": true}), "force"),
        ] {
            let refused = api.call("POST", &resolve, body).await;
            assert_eq!(refused.fault(422, "validation_failed"), field);
        }
        for action in ["retry", "dismiss", "resolve"] {
            let path = format!("{path}/{action}");
            let headers = [("if-match", "\"7\"")];
            let body = json!({"side": "database"});
            let refused = api.call_with("POST", &path, body.clone(), &headers).await;
            assert_eq!(refused.fault(412, "precondition_failed"), "If-Match");
            let headers = [("if-match", "seven")];
            let refused = api.call_with("POST", &path, body, &headers).await;
            assert_eq!(refused.fault(400, "malformed_request"), "If-Match");
        }
        let headers = [("if-match", "\"1\"")];
        let body = json!({"side": "database"});
        api.call_with("POST", &resolve, body, &headers)
            .await
            .expect(200);
    })
    .await;
}

/// A deletion that Stripe refuses waits like anything else.
#[tokio::test]
async fn a_parked_deletion_is_listed_and_sent_again() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        api.delete(&path_of(&customer), &[]).await.expect(200);
        let id = id_of(&customer);
        link(&api, id, |row| {
            park(row, &api, "rejected", None);
            row.parked_rev = Set(Some(2));
        })
        .await;
        let path = format!("{PARKED}/{id}");
        assert_eq!(api.get(&path).await.expect(200)["deleted"], true);
        let resolve = format!("{path}/resolve");
        let refused = api.call("POST", &resolve, json!({"side": "stripe"})).await;
        refused.problem(409, "not_possible");
        let done = api
            .call("POST", &resolve, json!({"side": "database"}))
            .await;
        assert_eq!(done.expect(200)["customer_rev"], 3);
        let last = api.outbox().await.pop().unwrap();
        assert_eq!(last.kind, entity::outbox::Kind::Deleted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_resolves_at_once_one_decides() {
    each_database(async |database| {
        let api = Api::on(database);
        let (_, id, path) = parked(&api, "bob@example.com", "rejected").await;
        let path = format!("{path}/resolve");
        let (one, two) = tokio::join!(
            api.call("POST", &path, json!({"side": "database"})),
            api.call("POST", &path, json!({"side": "stripe"})),
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404]);
        let rows = api.outbox().await;
        assert_eq!(rows.iter().filter(|row| row.customer_id == id).count(), 2);
    })
    .await;
}
