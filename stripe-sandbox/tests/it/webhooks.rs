//! Webhook endpoints and what is delivered to them.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_sandbox::Options;

use crate::support::receiver::Receiver;
use crate::support::wait::eventually;
use crate::support::{Account, START, manual};

#[tokio::test]
async fn an_endpoint_tells_its_secret_once_and_can_be_changed_and_deleted() {
    let account = Account::manual().await;
    let (id, secret) = account.register("http://127.0.0.1:9/", "*").await;
    assert!(secret.starts_with("whsec_") && id.starts_with("we_"));
    let path = format!("/v1/webhook_endpoints/{id}");
    let shown = account.get(&path).await.body;
    assert_eq!(
        (&shown["secret"], &shown["status"]),
        (&Value::Null, &"enabled".into())
    );
    let changed = account
        .post(
            &path,
            &[
                ("disabled", "true"),
                ("enabled_events[]", "customer.created"),
            ],
        )
        .await
        .body;
    assert_eq!(
        (&changed["status"], &changed["enabled_events"]),
        (&"disabled".into(), &json!(["customer.created"]))
    );
    assert_eq!(
        account.get("/v1/webhook_endpoints").await.ids(),
        [id.as_str()]
    );
    assert_eq!(account.delete(&path).await.body["deleted"], true);
    assert_eq!(account.get(&path).await.status, 404);
    let without_url = account
        .post("/v1/webhook_endpoints", &[("enabled_events[]", "*")])
        .await;
    assert_eq!(without_url.refusal().3, Some("url"));
}

#[tokio::test]
async fn a_delivery_is_signed_and_is_the_event() {
    let account = Account::manual().await;
    let receiver = Receiver::open(&[]).await;
    let (_, secret) = account.register(&receiver.url, "customer.created").await;
    let id = account.create(&[("name", "A")]).await;
    account
        .post(&format!("/v1/customers/{id}"), &[("name", "B")])
        .await;
    let delivery = receiver.receives(1).await.remove(0);
    assert!(delivery.signed_by(&secret));
    assert!(delivery.signature.starts_with(&format!("t={START},")));
    let event = delivery.event();
    assert_eq!(
        (&event["type"], &event["pending_webhooks"]),
        (&"customer.created".into(), &1.into())
    );
    eventually("the delivery is noted", || {
        account.sandbox().events()[1]["pending_webhooks"] == 0
    })
    .await;
    assert_eq!(
        receiver.got().len(),
        1,
        "customer.updated was not asked for"
    );
}

#[tokio::test]
async fn a_rolled_secret_signs_beside_the_new_one_until_it_ends() {
    let account = Account::manual().await;
    let receiver = Receiver::open(&[]).await;
    let (id, old) = account.register(&receiver.url, "*").await;
    let new = account
        .sandbox()
        .roll_secret(&id, Duration::from_secs(3600))
        .unwrap();
    account.create(&[]).await;
    let both = receiver.receives(1).await.remove(0);
    assert!(both.signed_by(&old) && both.signed_by(&new));
    account.advance(3600);
    account.create(&[]).await;
    let one = receiver.receives(2).await.remove(1);
    assert!(!one.signed_by(&old) && one.signed_by(&new));
}

#[tokio::test]
async fn a_refused_delivery_is_tried_again_and_slows_nothing() {
    let options = Options {
        webhook_backoff: vec![Duration::from_millis(5); 3],
        ..manual()
    };
    let account = Account::open(options).await;
    let receiver = Receiver::open(&[500, 302]).await;
    account.register(&receiver.url, "*").await;
    account.create(&[]).await;
    let tries = receiver.receives(3).await;
    assert!(tries.iter().all(|delivery| delivery.body == tries[0].body));
    eventually("the third is taken", || {
        account.sandbox().events()[0]["pending_webhooks"] == 0
    })
    .await;
}

/// It accepts connections and never answers.
#[tokio::test]
async fn silent_endpoint_delays_no_other() {
    let account = Account::manual().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    account.register(&url, "*").await;
    let receiver = Receiver::open(&[]).await;
    account.register(&receiver.url, "*").await;
    for _ in 0..200 {
        account.create(&[]).await;
    }
    assert_eq!(receiver.receives(200).await.len(), 200);
}
