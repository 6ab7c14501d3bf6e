//! On Postgres the server's clock stamps every row: that of the api's machine may be off.

use chrono::{DateTime, TimeDelta, Utc};
use entity::message::Changed;
use platform::test_support::postgres;
use sea_orm::EntityTrait;
use serde_json::json;

use crate::client::{Api, CUSTOMERS, path_of};

/// Before and after: the clock of this test's api stands at its start, long before both.
async fn present(api: &Api) -> DateTime<Utc> {
    let now = api.now().await;
    assert!(now - api.clock.now() > TimeDelta::days(1));
    now
}

#[tokio::test]
async fn postgres_stamps_every_row_of_a_write() {
    let api = Api::on(postgres().await);
    let before = present(&api).await;
    let alone = api.created("alone@example.com").await;
    let body = json!({"email": "once@example.com"});
    let headers = [("idempotency-key", "order-1")];
    let once = api.call_with("POST", CUSTOMERS, body, &headers).await;
    let once = once.expect(201);
    let edit = json!({"name": "Robert"});
    let edited = api.call("PATCH", &path_of(&alone), edit).await.expect(200);
    let deleted = api.delete(&path_of(&once), &[]).await.expect(200);
    let after = present(&api).await;

    for (customer, name) in [
        (&alone, "created_at"),
        (&once, "created_at"),
        (&edited, "updated_at"),
        (&deleted, "updated_at"),
        (&deleted, "deleted_at"),
    ] {
        let at: DateTime<Utc> = customer[name].as_str().unwrap().parse().unwrap();
        assert!(before <= at && at <= after, "{name} of {customer}");
    }
    assert_eq!(deleted["deleted_at"], deleted["updated_at"]);
    let rows = api.customers().await;
    for event in api.outbox().await {
        assert!(before <= event.created_at && event.created_at <= after);
        let state: Changed = serde_json::from_value(event.payload).unwrap();
        let row = rows.iter().find(|row| row.id == state.id).unwrap();
        assert_eq!(state.created_at, row.created_at);
        assert_eq!(state.updated_at, event.created_at);
    }
    let kept = entity::api_idempotency::Entity::find().all(&api.db).await;
    let kept = kept.unwrap().pop().unwrap();
    assert!(before <= kept.created_at && kept.created_at <= after);
}

#[tokio::test]
async fn answer_shows_what_was_stored() {
    let api = Api::on(postgres().await);
    let created = api.created("bob@example.com").await;
    assert_eq!(api.get(&path_of(&created)).await.expect(200), created);
}
