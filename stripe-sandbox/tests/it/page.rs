//! The page for people.

use reqwest::Method;

use crate::support::{Account, send};

#[tokio::test]
async fn a_human_creates_edits_and_deletes_on_the_page() {
    let account = Account::manual().await;
    let form = async |path: &str, fields: &[(&str, &str)]| {
        send(account.anonymous(Method::POST, path).form(fields)).await
    };
    let page = async |path: &str| {
        send(account.anonymous(Method::GET, path))
            .await
            .body
            .as_str()
            .unwrap()
            .to_owned()
    };
    form(
        "/dashboard/customers",
        &[("name", "<b>Ada</b>"), ("email", "ada@example.com")],
    )
    .await;
    let id = account.sandbox().customers()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let list = page("/").await;
    assert!(
        list.contains("&lt;b&gt;Ada&lt;/b&gt;") && !list.contains("<b>Ada"),
        "{list}"
    );
    assert!(!page("/?email=bob").await.contains(&id) && page("/?email=ADA").await.contains(&id));

    account
        .post(&format!("/v1/customers/{id}"), &[("metadata[k]", "v")])
        .await;
    let path = format!("/dashboard/customers/{id}");
    form(
        &path,
        &[
            ("name", "Ada L"),
            ("email", "ada@example.com"),
            ("phone", ""),
            ("description", "d"),
        ],
    )
    .await;
    let customer = account.sandbox().customer(&id).unwrap();
    assert_eq!(
        (&customer["name"], &customer["metadata"]["k"]),
        (&"Ada L".into(), &"v".into())
    );
    assert_eq!(
        account.sandbox().events()[0]["request"]["id"],
        serde_json::Value::Null
    );

    let foreign = account
        .anonymous(Method::POST, &format!("{path}/delete"))
        .header("Origin", "https://evil.example");
    assert_eq!(send(foreign).await.status, 403);
    assert_eq!(form(&path, &[("email", "bad")]).await.status, 400);
    form(&format!("{path}/delete"), &[]).await;
    assert_eq!(account.sandbox().customer_count(), 0);
    assert!(page(&path).await.contains("was deleted"));
}

#[tokio::test]
async fn a_form_that_was_open_for_long_changes_only_what_was_changed_in_it() {
    let account = Account::manual().await;
    let id = account
        .create(&[("name", "Ada"), ("email", "ada@example.com")])
        .await;
    account
        .post(
            &format!("/v1/customers/{id}"),
            &[("email", "new@example.com")],
        )
        .await;
    let stale = [
        ("name", "Ada M"),
        ("was_name", "Ada"),
        ("email", "ada@example.com"),
        ("was_email", "ada@example.com"),
    ];
    let path = format!("/dashboard/customers/{id}");
    send(account.anonymous(Method::POST, &path).form(&stale)).await;
    let customer = account.sandbox().customer(&id).unwrap();
    assert_eq!(
        (&customer["name"], &customer["email"]),
        (&"Ada M".into(), &"new@example.com".into())
    );
}
