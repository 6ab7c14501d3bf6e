//! The outbox row is written with its change, in one transaction.

use std::time::Duration;

use entity::message::{Changed, Origin};
use entity::outbox::{self, Kind};
use platform::test_support::each_database;
use sea_orm::{ActiveValue::Set, EntityTrait};
use serde_json::json;

use crate::client::{Api, CUSTOMERS, path_of};

#[tokio::test]
async fn every_change_leaves_one_row_with_its_state_in_the_order_of_revs() {
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("bob@example.com").await);
        api.call("PATCH", &path, json!({"phone": "1"}))
            .await
            .expect(200);
        let body = json!({"name": "Robert", "email": "bob@example.com"});
        api.call("PUT", "/api/update-customer/", body)
            .await
            .expect(200);
        api.delete(&path, &[]).await.expect(200);
        let rows = api.outbox().await;
        let revs: Vec<_> = rows.iter().map(|row| (row.rev, row.kind)).collect();
        let expected = [
            (1, Kind::Created),
            (2, Kind::Updated),
            (3, Kind::Updated),
            (4, Kind::Deleted),
        ];
        assert_eq!(revs, expected);
        let last = &api.customers().await[0];
        let states: Vec<Changed> = rows
            .iter()
            .map(|row| serde_json::from_value(row.payload.clone()).unwrap())
            .collect();
        assert_eq!(states[3], Changed::of(last, Origin::Application));
        assert_eq!(states[0].phone, None);
        assert_eq!(states[1].name.as_deref(), Some("Bob"));
        assert!(rows.iter().all(|row| row.customer_id == last.id));
    })
    .await;
}

#[tokio::test]
async fn a_write_that_fails_leaves_neither_row_and_says_nothing_of_the_inside() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let path = path_of(&customer);
        // Takes the place that the next change needs in the outbox.
        let taken = outbox::ActiveModel {
            customer_id: Set(customer["id"].as_str().unwrap().parse().unwrap()),
            rev: Set(2),
            kind: Set(Kind::Updated),
            payload: Set(json!({})),
            created_at: Set(api.now().await),
            ..Default::default()
        };
        outbox::Entity::insert(taken).exec(&api.db).await.unwrap();
        let body = json!({"name": "Robert"});
        for reply in [
            api.call("PATCH", &path, body).await,
            api.delete(&path, &[]).await,
        ] {
            reply.problem(500, "internal");
            for inside in ["outbox", "UNIQUE", "unique", "constraint", "rror"] {
                assert!(!reply.json()["detail"].as_str().unwrap().contains(inside));
            }
        }
        assert_eq!(api.get(&path).await.expect(200), customer);
        assert_eq!(api.outbox().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn the_trace_of_the_request_goes_on_in_the_outbox() {
    each_database(async |database| {
        let api = Api::on(database);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let given = format!("00-{trace}-00f067aa0ba902b7-01");
        let body = json!({"email": "bob@example.com"});
        api.call_with("POST", CUSTOMERS, body, &[("traceparent", &given)])
            .await
            .expect(201);
        let path = format!("{CUSTOMERS}/bob@example.com");
        api.delete(&path, &[("traceparent", "nonsense")])
            .await
            .expect(200);
        let rows = api.outbox().await;
        let first = rows[0].traceparent.as_deref().unwrap();
        assert!(first.starts_with(&format!("00-{trace}-")), "{first}");
        assert_ne!(first, given, "the change is a span of its own");
        let second = rows[1].traceparent.as_deref().unwrap();
        assert!(
            !second.contains(trace) && second.len() == given.len(),
            "{second}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_relay_is_woken_by_every_kind_of_change() {
    each_database(async |database| {
        let api = Api::on(database);
        let woken = async || {
            tokio::time::timeout(Duration::from_secs(5), api.wake.woken())
                .await
                .expect("woken");
        };
        api.created("bob@example.com").await;
        woken().await;
        let headers = [("idempotency-key", "order-1")];
        let body = json!({"email": "al@example.com"});
        api.call_with("POST", CUSTOMERS, body, &headers)
            .await
            .expect(201);
        woken().await;
        let path = format!("{CUSTOMERS}/bob@example.com");
        api.call("PATCH", &path, json!({"phone": "1"}))
            .await
            .expect(200);
        woken().await;
        api.delete(&path, &[]).await.expect(200);
        woken().await;
    })
    .await;
}
