//! Faults around an effect.

use std::time::Duration;

use reqwest::Method;
use stripe_sandbox::Fault;
use stripe_sandbox::fault::{Kind, Reason};

use super::CREATE;
use crate::support::wait::eventually;
use crate::support::{Account, Reply};

/// A keyed create that may not come back.
async fn create(account: &Account, key: &str) -> Result<Reply, reqwest::Error> {
    let request = account
        .request(Method::POST, "/v1/customers")
        .header("Idempotency-Key", key)
        .form(&[("name", "A")]);
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    Ok(Reply {
        status,
        headers,
        body: serde_json::from_str(&text).unwrap_or(text.into()),
    })
}

#[tokio::test]
async fn a_500_before_the_effect_is_replayed_and_nothing_was_done() {
    let account = Account::manual().await;
    account.sandbox().inject(Fault::once(
        CREATE,
        Kind::ErrorBeforeEffect {
            should_retry: Some(false),
        },
    ));
    let failed = create(&account, "k").await.unwrap();
    assert_eq!(
        (failed.status, failed.header("stripe-should-retry")),
        (500, Some("false"))
    );
    assert_eq!(failed.body["error"]["type"], "api_error");
    let again = create(&account, "k").await.unwrap();
    assert_eq!(
        (again.status, again.header("idempotent-replayed")),
        (500, Some("true"))
    );
    assert_eq!(account.sandbox().customer_count(), 0);
    assert_eq!(create(&account, "other").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_500_after_the_effect_is_replayed_and_the_customer_is_there() {
    let account = Account::manual().await;
    account.sandbox().inject(Fault::once(
        CREATE,
        Kind::ErrorAfterEffect { should_retry: None },
    ));
    assert_eq!(create(&account, "k").await.unwrap().status, 500);
    assert_eq!(create(&account, "k").await.unwrap().status, 500);
    assert_eq!(account.sandbox().customer_count(), 1);
    assert_eq!(account.sandbox().events().len(), 1);
}

#[tokio::test]
async fn a_reset_before_the_effect_leaves_nothing_and_one_after_it_a_replay() {
    let account = Account::manual().await;
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::ResetBeforeEffect));
    assert!(create(&account, "k").await.is_err());
    assert_eq!(account.sandbox().customer_count(), 0);
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::ResetAfterEffect));
    assert!(create(&account, "k").await.is_err());
    assert_eq!(account.sandbox().customer_count(), 1);
    let replayed = create(&account, "k").await.unwrap();
    assert_eq!(
        (replayed.status, replayed.header("idempotent-replayed")),
        (200, Some("true"))
    );
    let statuses: Vec<Option<u16>> = account
        .sandbox()
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [None, None, Some(200)]);
    assert_eq!(
        account.sandbox().requests()[1].fault.as_deref(),
        Some("reset_after_effect")
    );
}

#[tokio::test]
async fn a_gateway_answers_with_html_before_or_after_the_effect() {
    let account = Account::manual().await;
    for (kind, customers) in [
        (Kind::GatewayErrorBeforeEffect, 0),
        (Kind::GatewayErrorAfterEffect, 1),
    ] {
        account.sandbox().inject(Fault::once(CREATE, kind));
        let reply = create(&account, "k").await.unwrap();
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (502, Some("text/html"))
        );
        assert_eq!(account.sandbox().customer_count(), customers);
    }
}

#[tokio::test]
async fn a_body_can_be_empty_garbled_or_truncated_after_the_effect() {
    let account = Account::manual().await;
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::EmptyBody));
    let empty = create(&account, "1").await.unwrap();
    assert_eq!((empty.status, empty.body), (200, "".into()));
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::GarbledBody));
    let garbled = create(&account, "2").await.unwrap();
    assert!(garbled.status == 200 && garbled.body.is_string());
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::TruncatedBody));
    let request = account.request(Method::POST, "/v1/customers");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        response.bytes().await.is_err(),
        "the body ends before its length"
    );
    assert_eq!(account.sandbox().customer_count(), 3);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_still_has_its_effect() {
    let account = Account::manual().await;
    let sandbox = account.sandbox();
    let delay = Duration::from_millis(300);
    let kinds = [
        Kind::LatencyBeforeEffect { delay },
        Kind::LatencyAfterEffect { delay },
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        sandbox.inject(Fault::once(CREATE, kind));
        let key = number.to_string();
        let arrived = eventually("it arrives", || sandbox.requests().len() == number + 1);
        tokio::select! {
            answer = create(&account, &key) => panic!("answered {}", answer.unwrap().status),
            () = arrived => {}
        }
        eventually("the effect", || sandbox.customer_count() == number + 1).await;
    }
}

#[tokio::test]
async fn a_key_is_in_use_while_its_first_request_is_in_progress() {
    let account = Account::manual().await;
    account.sandbox().inject(Fault::once(
        CREATE,
        Kind::LatencyBeforeEffect {
            delay: Duration::from_millis(500),
        },
    ));
    let second = async {
        eventually("the first begins", || {
            account.sandbox().requests().len() == 1
        })
        .await;
        create(&account, "k").await.unwrap()
    };
    let (first, second) = tokio::join!(create(&account, "k"), second);
    assert_eq!(
        second.refusal(),
        (
            409,
            "idempotency_error",
            Some("idempotency_key_in_use"),
            None
        )
    );
    let first = first.unwrap();
    assert_eq!(first.status, 200);
    assert_eq!(create(&account, "k").await.unwrap().body, first.body);
}

#[tokio::test]
async fn limiters_refuse_with_their_reason_and_save_nothing() {
    let account = Account::manual().await;
    let reasons = [
        (Reason::GlobalRate, "global-rate"),
        (Reason::EndpointRate, "endpoint-rate"),
        (Reason::GlobalConcurrency, "global-concurrency"),
        (Reason::EndpointConcurrency, "endpoint-concurrency"),
        (Reason::ResourceSpecific, "resource-specific"),
    ];
    for (reason, name) in reasons {
        account
            .sandbox()
            .inject(Fault::once(CREATE, Kind::RateLimited { reason }));
        let limited = create(&account, "k").await.unwrap();
        assert_eq!(
            (limited.status, limited.header("stripe-rate-limited-reason")),
            (429, Some(name))
        );
    }
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::LockTimeout));
    let locked = create(&account, "k").await.unwrap();
    assert_eq!(
        (locked.status, locked.refusal().2),
        (429, Some("lock_timeout"))
    );
    assert_eq!(locked.header("stripe-rate-limited-reason"), None);
    for (kind, status) in [(Kind::Unauthorized, 401), (Kind::Forbidden, 403)] {
        account.sandbox().inject(Fault::once("*", kind));
        assert_eq!(create(&account, "k").await.unwrap().status, status);
    }
    let done = create(&account, "k").await.unwrap();
    assert_eq!(
        (done.status, done.header("idempotent-replayed")),
        (200, None)
    );
}

#[tokio::test]
async fn a_forgotten_key_makes_a_second_customer() {
    let account = Account::manual().await;
    create(&account, "k").await.unwrap();
    account
        .sandbox()
        .inject(Fault::once(CREATE, Kind::IdempotencyForgotten));
    create(&account, "k").await.unwrap();
    assert_eq!(account.sandbox().customer_count(), 2);
}
