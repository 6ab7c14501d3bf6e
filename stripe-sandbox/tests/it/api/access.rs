//! Keys, headers, limits, unknown URLs, the record of requests.

use reqwest::Method;
use stripe_sandbox::Options;

use crate::support::{Account, KEY, Reply, send};

#[tokio::test]
async fn a_key_is_needed_and_every_answer_has_a_request_id() {
    let account = Account::manual().await;
    let reply = send(account.anonymous(Method::GET, "/v1/customers")).await;
    assert_eq!(reply.refusal(), (401, "invalid_request_error", None, None));
    assert!(reply.header("www-authenticate").is_some());
    assert!(reply.header("request-id").unwrap().starts_with("req_"));
    let live = send(
        account
            .anonymous(Method::GET, "/v1/customers")
            .bearer_auth("sk_live_1"),
    )
    .await;
    assert_eq!(live.status, 401);
    let basic = send(
        account
            .anonymous(Method::GET, "/v1/customers")
            .basic_auth(KEY, Some("")),
    )
    .await;
    assert_eq!(basic.status, 200);
    let unknown = account.get("/v1/foo").await;
    assert_eq!(
        unknown.refusal(),
        (404, "invalid_request_error", None, None)
    );
    assert!(
        unknown.body["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Unrecognized request URL (GET: /v1/foo)")
    );
    assert!(unknown.header("request-id").is_some());
}

#[tokio::test]
async fn account_of_live_mode_takes_live_keys_and_says_its_mode() {
    let options = Options {
        livemode: true,
        ..Options::default()
    };
    let account = Account::open(options).await;
    assert_eq!(account.get("/v1/customers").await.status, 401);
    let made = send(
        account
            .anonymous(Method::POST, "/v1/customers")
            .bearer_auth("rk_live_1"),
    )
    .await;
    assert_eq!(made.body["livemode"], true);
    assert_eq!(account.sandbox().customers()[0]["livemode"], true);
    assert_eq!(account.sandbox().events()[0]["livemode"], true);
}

#[tokio::test]
async fn beyond_its_rate_an_account_refuses_with_429() {
    let options = Options {
        requests_per_second: Some(1),
        ..Options::default()
    };
    let account = Account::open(options).await;
    let mut replies = Vec::new();
    while replies.len() < 50
        && replies
            .last()
            .is_none_or(|reply: &Reply| reply.status == 200)
    {
        replies.push(account.get("/v1/account").await);
    }
    let refused = replies.pop().unwrap();
    assert_eq!(
        refused.refusal(),
        (429, "invalid_request_error", Some("rate_limit"), None)
    );
    assert_eq!(
        refused.header("stripe-rate-limited-reason"),
        Some("global-rate")
    );
    assert!(!replies.is_empty(), "the first is admitted");
}

#[tokio::test]
async fn pinned_keys_are_the_only_ones() {
    let account = Account::open(Options {
        api_keys: vec!["rk_test_mine".to_owned()],
        ..Options::default()
    })
    .await;
    assert_eq!(account.get("/v1/account").await.status, 401);
    let mine = send(
        account
            .anonymous(Method::GET, "/v1/account")
            .bearer_auth("rk_test_mine"),
    )
    .await;
    assert_eq!(
        (mine.status, &mine.body["object"]),
        (200, &"account".into())
    );
}

#[tokio::test]
async fn the_version_of_a_request_is_echoed() {
    let account = Account::manual().await;
    let pinned = send(
        account
            .request(Method::GET, "/v1/account")
            .header("Stripe-Version", "2025-01-27.acacia"),
    )
    .await;
    assert_eq!(pinned.header("stripe-version"), Some("2025-01-27.acacia"));
    assert_eq!(
        account.get("/v1/account").await.header("stripe-version"),
        Some("2026-09-30.endive")
    );
}

#[tokio::test]
async fn requests_are_recorded_with_their_customer_and_sync_id() {
    let account = Account::manual().await;
    let created = account
        .post_keyed(
            "/v1/customers",
            "key-1",
            &[("metadata[customer_sync_id]", "7")],
        )
        .await;
    account.get("/v1/customers?limit=3").await;
    let requests = account.sandbox().requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].customer_sync_id.as_deref(), Some("7"));
    assert_eq!(requests[0].customer.as_deref(), created.body["id"].as_str());
    assert_eq!(requests[0].idempotency_key.as_deref(), Some("key-1"));
    assert_eq!(requests[0].status, Some(200));
    assert_eq!(
        Some(requests[0].request_id.as_str()),
        created.header("request-id")
    );
    assert_eq!(
        (requests[1].path.as_str(), requests[1].query.as_str()),
        ("/v1/customers", "limit=3")
    );
    let shown = send(account.anonymous(Method::GET, "/_sandbox/requests?since=1")).await;
    assert_eq!(shown.body["requests"].as_array().unwrap().len(), 1);
    let stats = send(account.anonymous(Method::GET, "/_sandbox/stats")).await;
    assert_eq!(stats.body["requests"]["POST /v1/customers"], 1);
    send(account.anonymous(Method::DELETE, "/_sandbox/requests")).await;
    assert!(account.sandbox().requests().is_empty());
}

#[tokio::test]
async fn requests_with_the_same_parameters_are_told_from_others() {
    let account = Account::manual().await;
    for fields in [
        [("name", "Ada"), ("phone", "1")],
        [("phone", "1"), ("name", "Ada")],
        [("name", "Ada"), ("phone", "2")],
    ] {
        account.post("/v1/customers", &fields).await;
    }
    account.get("/v1/customers").await;
    let requests = account.sandbox().requests();
    let parameters: Vec<_> = requests.iter().map(|it| it.parameters.as_deref()).collect();
    assert!(parameters[0].is_some_and(|digest| digest.len() == 16));
    assert_eq!(parameters[0], parameters[1]);
    assert_ne!(parameters[0], parameters[2]);
    assert_eq!(parameters[3], None);
    for request in requests {
        assert!(request.answered_at_us.unwrap() >= request.received_at_us);
    }
}

/// A page whose name leads to this machine sends that name as `Host`.
#[tokio::test]
async fn request_for_another_host_is_refused() {
    let options = Options {
        hosts: vec!["stripe.example".parse().unwrap()],
        ..Options::default()
    };
    let account = Account::open(options).await;
    let get = async |path: &str, host: &str| {
        let request = account.request(Method::GET, path).header("Host", host);
        send(request).await.status
    };
    assert_eq!(get("/v1/customers", "evil.example").await, 403);
    assert_eq!(get("/", "evil.example").await, 403);
    assert_eq!(get("/v1/customers", "stripe.example").await, 200);
    assert_eq!(get("/v1/customers", "localhost").await, 200);
    assert_eq!(get("/_sandbox/health", "evil.example").await, 200);
}
