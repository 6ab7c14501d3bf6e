//! What waits for a person: lists, decisions and refusals. What the worker makes of them is tested there.

mod conflict;
mod deletion;
mod parked;
mod unmatched;

use entity::stamp::Stamps;
use entity::stripe_link::{self, ActiveModel, Model};
use platform::test_support::each_database;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Api;

fn id_of(customer: &Value) -> Uuid {
    customer["id"].as_str().unwrap().parse().unwrap()
}

/// A link as the worker would have written it.
pub(crate) async fn link(api: &Api, id: Uuid, change: impl FnOnce(&mut ActiveModel)) {
    let now = api.now().await;
    let mut row = ActiveModel {
        customer_id: Set(id),
        stripe_id: Set(Some(format!("cus_{}", id.simple()))),
        synced_rev: Set(0),
        pushed: Set(Some(Stamps::default())),
        attempts: Set(0),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    change(&mut row);
    stripe_link::Entity::insert(row)
        .exec_without_returning(&api.db)
        .await
        .unwrap();
}

async fn link_of(api: &Api, id: Uuid) -> Model {
    stripe_link::find(&api.db, id).await.unwrap().unwrap()
}

/// All items of a list, read page by page.
async fn pages(api: &Api, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut query = format!("{path}?limit={limit}");
    loop {
        let page = api.get(&query).await.expect(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        items.extend(data.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("{path}?limit={limit}&cursor={cursor}"),
            None => return items,
        }
    }
}

/// The members of this name in a list.
async fn listed(api: &Api, path: &str, member: &str) -> Vec<String> {
    let page = api.get(path).await.expect(200);
    let data = page["data"].as_array().unwrap().iter();
    data.map(|item| item[member].as_str().unwrap().to_owned())
        .collect()
}

const PATHS: [(&str, &str); 16] = [
    ("GET", "/api/v1/parked"),
    ("GET", "/api/v1/parked/x"),
    ("POST", "/api/v1/parked/x/retry"),
    ("POST", "/api/v1/parked/x/dismiss"),
    ("POST", "/api/v1/parked/x/resolve"),
    ("GET", "/api/v1/conflicts"),
    ("GET", "/api/v1/conflicts/x"),
    ("POST", "/api/v1/conflicts/x/dismiss"),
    ("POST", "/api/v1/conflicts/x/resolve"),
    ("GET", "/api/v1/unmatched"),
    ("GET", "/api/v1/unmatched/x"),
    ("POST", "/api/v1/unmatched/x/retry"),
    ("POST", "/api/v1/unmatched/x/dismiss"),
    ("POST", "/api/v1/unmatched/x/link"),
    ("GET", "/api/v1/refused-deletions"),
    ("POST", "/api/v1/refused-deletions/accept"),
];

#[tokio::test]
async fn nobody_gets_there_without_a_key() {
    each_database(async |database| {
        let api = Api::with_keys(database, "a-key");
        for (method, path) in PATHS {
            let refused = api.call(method, path, json!({"side": "stripe"})).await;
            refused.problem(401, "unauthorized");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    each_database(async |database| {
        let api = Api::on(database);
        let id = Uuid::now_v7();
        for (method, path) in PATHS {
            if !path.contains("/x") {
                continue;
            }
            for key in ["x", "nobody@example.com", &id.to_string()] {
                let path = path.replace("/x", &format!("/{key}"));
                let body = if path.ends_with("link") {
                    json!({"customer_id": id})
                } else {
                    json!({"side": "stripe"})
                };
                api.call(method, &path, body)
                    .await
                    .problem(404, "not_found");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_parameter_that_can_not_be_read_is_named() {
    each_database(async |database| {
        let api = Api::on(database);
        for list in ["parked", "conflicts", "unmatched"] {
            for (query, field) in [
                ("limit=0", "limit"),
                ("limit=101", "limit"),
                ("cursor=x", "cursor"),
                ("cursor=", "cursor"),
                ("cursor=AAAAAAAAAAA", "cursor"),
                ("state=gone", "state"),
                ("customer=bob", "customer"),
            ] {
                let refused = api.get(&format!("/api/v1/{list}?{query}")).await;
                let fault = refused.fault(422, "validation_failed");
                assert_eq!(fault, field, "{list} {query}");
            }
        }
        // The cursor of another list.
        let refused = api.get("/api/v1/parked?cursor=AAAAAAAAAABjdXNfMQ").await;
        assert_eq!(refused.fault(422, "validation_failed"), "cursor");
        let refused = api.get("/api/v1/conflicts?field=shoe").await;
        assert_eq!(refused.fault(422, "validation_failed"), "field");
        let refused = api.get("/api/v1/unmatched?reason=none").await;
        assert_eq!(refused.fault(422, "validation_failed"), "reason");
    })
    .await;
}
