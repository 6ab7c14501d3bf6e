//! Creating, reading, changing and deleting customers.

use reqwest::Method;

use stripe_sandbox::Options;

use crate::support::{Account, START, send};

const MISSING: (u16, &str, Option<&str>, Option<&str>) = (
    404,
    "invalid_request_error",
    Some("resource_missing"),
    Some("id"),
);

#[tokio::test]
async fn a_created_customer_comes_back_whole() {
    let account = Account::manual().await;
    let fields = [
        ("email", "Ada@Example.com"),
        ("name", "Ada & \"Bob\" = 100% + ü 漢字 🎉"),
        ("phone", "+49 1"),
        ("description", "first"),
        ("metadata[customer_sync_id]", "42"),
        ("address[line1]", "Main St 1"),
        ("address[country]", "DE"),
        ("preferred_locales[0]", "de"),
        ("shipping[name]", "Ada"),
        ("shipping[address][line1]", "Side St 2"),
    ];
    let created = account.post("/v1/customers", &fields).await;
    assert_eq!(created.status, 200);
    let id = created.body["id"].as_str().unwrap();
    assert!(id.starts_with("cus_") && id.len() == 18, "{id}");
    assert_eq!(created.body["object"], "customer");
    assert_eq!(created.body["created"], START);
    assert_eq!(created.body["livemode"], false);
    assert_eq!(created.body["email"], "Ada@Example.com");
    assert_eq!(created.body["name"], fields[1].1);
    assert_eq!(created.body["metadata"]["customer_sync_id"], "42");
    assert_eq!(created.body["address"]["line1"], "Main St 1");
    assert_eq!(created.body["shipping"]["address"]["line1"], "Side St 2");
    assert_eq!(created.body["preferred_locales"][0], "de");
    let retrieved = account.get(&format!("/v1/customers/{id}?")).await;
    assert_eq!(retrieved.body, created.body);
}

#[tokio::test]
async fn an_update_touches_only_what_it_names_and_an_empty_value_clears() {
    let account = Account::manual().await;
    let id = account
        .create(&[
            ("email", "a@b.co"),
            ("name", "A"),
            ("metadata[x]", "1"),
            ("metadata[y]", "2"),
        ])
        .await;
    let path = format!("/v1/customers/{id}");
    let updated = account
        .post(
            &path,
            &[("name", ""), ("metadata[x]", ""), ("metadata[z]", "3")],
        )
        .await;
    assert_eq!(updated.body["name"], serde_json::Value::Null);
    assert_eq!(updated.body["email"], "a@b.co");
    assert_eq!(
        updated.body["metadata"],
        serde_json::json!({ "y": "2", "z": "3" })
    );
    let updated = account.post(&path, &[("metadata", "")]).await;
    assert_eq!(updated.body["metadata"], serde_json::json!({}));
}

#[tokio::test]
async fn a_deleted_customer_is_still_known_but_can_not_be_changed() {
    let account = Account::manual().await;
    let id = account.create(&[("email", "a@b.co")]).await;
    let path = format!("/v1/customers/{id}");
    let deleted = serde_json::json!({ "id": id, "object": "customer", "deleted": true });
    assert_eq!(account.delete(&path).await.body, deleted);
    let retrieved = account.get(&path).await;
    assert_eq!((retrieved.status, retrieved.body), (200, deleted));
    assert_eq!(
        account.post(&path, &[("name", "B")]).await.refusal(),
        MISSING
    );
    assert_eq!(account.delete(&path).await.refusal(), MISSING);
    assert!(account.get("/v1/customers").await.ids().is_empty());
}

#[tokio::test]
async fn an_unknown_customer_is_missing() {
    let account = Account::manual().await;
    let reply = account.get("/v1/customers/cus_x").await;
    assert_eq!(reply.refusal(), MISSING);
    assert_eq!(reply.body["error"]["message"], "No such customer: 'cus_x'");
    assert_eq!(
        account.post("/v1/customers/cus_x", &[]).await.refusal(),
        MISSING
    );
    assert_eq!(
        account.delete("/v1/customers/cus_x").await.refusal(),
        MISSING
    );
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_by_name() {
    let account = Account::manual().await;
    let long = |length: usize| "x".repeat(length);
    let bad = |param| (400, "invalid_request_error", None, Some(param));
    let cases = [
        ("name", long(257), bad("name")),
        ("phone", long(21), bad("phone")),
        ("business_name", long(151), bad("business_name")),
        ("email", format!("{}@b.co", long(512)), bad("email")),
        ("metadata[k]", long(501), bad("metadata[k]")),
        (
            "email",
            "a@b".to_owned(),
            (
                400,
                "invalid_request_error",
                Some("email_invalid"),
                Some("email"),
            ),
        ),
        (
            "colour",
            "red".to_owned(),
            (
                400,
                "invalid_request_error",
                Some("parameter_unknown"),
                Some("colour"),
            ),
        ),
        (
            "address[planet]",
            "Mars".to_owned(),
            (
                400,
                "invalid_request_error",
                Some("parameter_unknown"),
                Some("address[planet]"),
            ),
        ),
    ];
    for (name, value, expected) in &cases {
        let reply = account.post("/v1/customers", &[(name, value)]).await;
        assert_eq!(reply.refusal(), *expected, "{name}");
    }
    let long_key = format!("metadata[{}]", long(41));
    assert_eq!(
        account
            .post("/v1/customers", &[(&long_key, "v")])
            .await
            .refusal(),
        bad("metadata")
    );
    let keys: Vec<String> = (0..51).map(|n| format!("metadata[k{n}]")).collect();
    let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    assert_eq!(
        account.post("/v1/customers", &many).await.refusal(),
        bad("metadata")
    );
    assert_eq!(account.post("/v1/customers", &many[..50]).await.status, 200);
    assert_eq!(account.sandbox().customer_count(), 1);
}

#[tokio::test]
async fn a_json_body_is_refused() {
    let account = Account::manual().await;
    let request = account
        .request(Method::POST, "/v1/customers")
        .json(&serde_json::json!({ "name": "A" }));
    let reply = send(request).await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn strict_emails_refuse_what_stripe_may_refuse() {
    let emails = ["taro..yamada@docomo.example", "jose@españa.example"];
    let lenient = Account::manual().await;
    let strict = Account::open(Options {
        strict_emails: true,
        ..Options::default()
    })
    .await;
    for email in emails {
        let fields = [("email", email)];
        let made = lenient.post("/v1/customers", &fields).await;
        assert_eq!(made.body["email"], email);
        let refused = strict.post("/v1/customers", &fields).await;
        assert_eq!(
            refused.refusal(),
            (
                400,
                "invalid_request_error",
                Some("email_invalid"),
                Some("email")
            )
        );
    }
}
