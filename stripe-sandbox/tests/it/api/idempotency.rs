//! What an idempotency key promises.

use futures_util::future::join_all;
use reqwest::Method;

use crate::support::{Account, send};

const MISUSED: (u16, &str, Option<&str>, Option<&str>) = (400, "idempotency_error", None, None);

#[tokio::test]
async fn a_repeated_key_replays_the_first_answer_and_does_nothing() {
    let account = Account::manual().await;
    let fields = [("email", "a@b.co"), ("metadata[x]", "1")];
    let first = account.post_keyed("/v1/customers", "k", &fields).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let id = first.body["id"].as_str().unwrap();
    account
        .post(&format!("/v1/customers/{id}"), &[("name", "Later")])
        .await;
    let again = account
        .post_keyed("/v1/customers", "k", &[fields[1], fields[0]])
        .await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("original-request"), first.header("request-id"));
    assert_ne!(again.header("request-id"), first.header("request-id"));
    assert_eq!(account.sandbox().customer_count(), 1);
}

#[tokio::test]
async fn a_key_is_bound_to_its_parameters_and_its_endpoint() {
    let account = Account::manual().await;
    let first = account
        .post_keyed("/v1/customers", "k", &[("name", "A")])
        .await;
    let other = account
        .post_keyed("/v1/customers", "k", &[("name", "B")])
        .await;
    assert_eq!(other.refusal(), MISUSED);
    let path = format!("/v1/customers/{}", first.body["id"].as_str().unwrap());
    let elsewhere = account.post_keyed(&path, "k", &[("name", "A")]).await;
    assert_eq!(elsewhere.refusal(), MISUSED);
    assert!(
        elsewhere.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("'/v1/customers' vs")
    );
    assert_eq!(account.sandbox().customers()[0]["name"], "A");
}

#[tokio::test]
async fn a_refusal_by_the_operation_is_saved_but_one_of_its_form_is_not() {
    let account = Account::manual().await;
    let missing = account
        .post_keyed("/v1/customers/cus_x", "k1", &[("name", "A")])
        .await;
    assert_eq!(missing.status, 404);
    let again = account
        .post_keyed("/v1/customers/cus_x", "k1", &[("name", "A")])
        .await;
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (404, Some("true"))
    );
    assert_eq!(
        account
            .post_keyed("/v1/customers", "k2", &[("email", "bad")])
            .await
            .status,
        400
    );
    assert_eq!(
        account
            .post_keyed("/v1/customers", "k2", &[("email", "good@b.co")])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let account = Account::manual().await;
    account.post_keyed("/v1/customers", "k", &[]).await;
    account.advance(24 * 3600 - 1);
    assert!(
        account
            .post_keyed("/v1/customers", "k", &[])
            .await
            .header("idempotent-replayed")
            .is_some()
    );
    account.advance(1);
    assert!(
        account
            .post_keyed("/v1/customers", "k", &[])
            .await
            .header("idempotent-replayed")
            .is_none()
    );
    assert_eq!(account.sandbox().customer_count(), 2);
}

#[tokio::test]
async fn a_key_means_nothing_on_a_get_and_is_limited_to_255() {
    let account = Account::manual().await;
    let get = || {
        account
            .request(Method::GET, "/v1/customers")
            .header("Idempotency-Key", "k")
    };
    assert_eq!(send(get()).await.body["data"].as_array().unwrap().len(), 0);
    account.create(&[]).await;
    assert_eq!(send(get()).await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        account
            .post_keyed("/v1/customers", &"k".repeat(256), &[])
            .await
            .status,
        400
    );
    assert_eq!(
        account
            .post_keyed("/v1/customers", &"k".repeat(255), &[])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_storm_of_one_key_has_one_effect() {
    let account = Account::manual().await;
    let posts = (0..50).map(|_| account.post_keyed("/v1/customers", "k", &[("name", "A")]));
    let replies = join_all(posts).await;
    assert!(
        replies
            .iter()
            .all(|reply| [200, 409].contains(&reply.status))
    );
    assert_eq!(account.sandbox().customer_count(), 1);
    assert_eq!(account.sandbox().events().len(), 1);
}
