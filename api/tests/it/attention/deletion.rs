//! Deletions that were refused for being too many.

use entity::downsync_state::{self, ID};
use entity::stripe_link::Parked;
use platform::test_support::each_database;
use sea_orm::ActiveModelTrait;
use sea_orm::ActiveValue::Set;
use serde_json::json;

use super::{id_of, link, link_of};
use crate::client::Api;

const DELETIONS: &str = "/api/v1/refused-deletions";

/// A7
#[tokio::test]
async fn they_are_shown_and_accepted_once_as_many_as_were_looked_at() {
    each_database(async |database| {
        let api = Api::on(database);
        let nothing = api.get(DELETIONS).await.expect(200);
        let none = json!({"count": 0, "detail": null, "next_step": null});
        assert_eq!(nothing, none);
        let now = api.now().await;
        let state = downsync_state::ActiveModel {
            id: Set(ID),
            refused: Set(Some("too many".to_owned())),
            updated_at: Set(now),
            ..Default::default()
        };
        state.insert(&api.db).await.unwrap();
        let empty = api.get(DELETIONS).await.expect(200);
        assert!(empty["next_step"].as_str().unwrap().contains("key"));
        let mut ids = Vec::new();
        for number in 0..3 {
            let id = id_of(&api.created(&format!("c{number}@example.com")).await);
            ids.push(id);
            let parked = Parked {
                reason: "deletion_refused".to_owned(),
                detail: "with too many others".to_owned(),
                rev: 1,
                request_id: None,
                stripe_value: None,
            };
            link(&api, id, |row| row.park(parked, now)).await;
        }
        let shown = api.get(DELETIONS).await;
        assert_eq!(shown.header("etag"), "\"3\"");
        let shown = shown.expect(200);
        assert_eq!(
            (&shown["count"], &shown["detail"]),
            (&json!(3), &json!("too many"))
        );
        assert!(shown["next_step"].as_str().unwrap().contains("accept"));
        let listed = api.get("/api/v1/parked?reason=deletion_refused").await;
        assert_eq!(listed.expect(200)["data"].as_array().unwrap().len(), 3);

        let accept = format!("{DELETIONS}/accept");
        let headers = [("if-match", "\"2\"")];
        let refused = api.call_with("POST", &accept, json!({}), &headers).await;
        assert_eq!(refused.fault(412, "precondition_failed"), "If-Match");
        assert_eq!(link_of(&api, ids[0]).await.recheck_at, None);
        let headers = [("if-match", "\"3\"")];
        let accepted = api.call_with("POST", &accept, json!({}), &headers).await;
        assert_eq!(accepted.expect(200), json!({"accepted": 3}));
        for id in ids {
            assert!(link_of(&api, id).await.recheck_at.is_some());
        }
        let rows = api.customers().await;
        assert!(
            rows.iter().all(|row| !row.is_deleted()),
            "the worker asks Stripe first"
        );
    })
    .await;
}
