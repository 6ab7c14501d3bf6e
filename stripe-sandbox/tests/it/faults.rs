//! Each fault does what its name says, and nothing else.

mod reads;
mod webhooks;
mod writes;

use reqwest::Method;
use serde_json::json;

use crate::support::{Account, send};

const CREATE: &str = "POST /v1/customers";

#[tokio::test]
async fn faults_are_managed_over_http() {
    let account = Account::manual().await;
    let add = async |fault: serde_json::Value| {
        send(
            account
                .anonymous(Method::POST, "/_sandbox/faults")
                .json(&fault),
        )
        .await
    };
    let added =
        add(json!({ "on": CREATE, "kind": "rate_limited", "reason": "global-rate", "times": 2 }))
            .await;
    assert_eq!(added.status, 201);
    assert_eq!(account.post("/v1/customers", &[]).await.status, 429);
    let listed = send(account.anonymous(Method::GET, "/_sandbox/faults"))
        .await
        .body;
    assert_eq!(
        (&listed["faults"][0]["kind"], &listed["faults"][0]["hits"]),
        (&"rate_limited".into(), &1.into())
    );
    assert_eq!(
        add(json!({ "kind": "latency_after_effect", "ms": 1, "tmes": 1 }))
            .await
            .status,
        400
    );
    assert_eq!(add(json!({ "kind": "unheard_of" })).await.status, 400);
    let path = format!("/_sandbox/faults/{}", added.body["id"]);
    assert_eq!(
        send(account.anonymous(Method::DELETE, &path)).await.status,
        204
    );
    assert_eq!(
        send(account.anonymous(Method::DELETE, &path)).await.status,
        404
    );
    add(json!({ "kind": "forbidden", "times": null })).await;
    send(account.anonymous(Method::DELETE, "/_sandbox/faults")).await;
    add(json!({ "kind": "unknown_version" })).await;
    assert_eq!(account.post("/v1/customers", &[]).await.status, 400);
    assert_eq!(account.post("/v1/customers", &[]).await.status, 200);
}
