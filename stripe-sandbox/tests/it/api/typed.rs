//! async-stripe's own client parses every answer.

use std::collections::HashMap;

use stripe::{Client, ClientBuilder, IdempotencyKey, StripeError, StripeRequest};
use stripe_client_core::RequestStrategy;
use stripe_core::customer::{
    CreateCustomer, DeleteCustomer, ListCustomer, RetrieveCustomer, RetrieveCustomerReturned,
    SearchCustomer, UpdateCustomer,
};
use stripe_core::event::{ListEvent, RetrieveEvent};

use crate::support::Account;

fn client(account: &Account) -> Client {
    ClientBuilder::new("sk_test_x")
        .url(account.running.url.clone())
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_customers_life_is_typed_throughout() {
    let account = Account::manual().await;
    let client = client(&account);
    let metadata = HashMap::from([("customer_sync_id".to_owned(), "1".to_owned())]);
    let create = CreateCustomer::new()
        .email("ada@example.com")
        .name("Ada")
        .metadata(metadata.clone());
    let created = create.send(&client).await.unwrap();
    assert_eq!(created.email.as_deref(), Some("ada@example.com"));
    assert_eq!(created.metadata, Some(metadata));
    let updated = UpdateCustomer::new(created.id.clone())
        .name("Ada L")
        .send(&client)
        .await
        .unwrap();
    assert_eq!(updated.name.as_deref(), Some("Ada L"));
    let retrieved = RetrieveCustomer::new(created.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert!(matches!(retrieved, RetrieveCustomerReturned::Customer(_)));
    assert_eq!(
        SearchCustomer::new("email:'ada@example.com'")
            .send(&client)
            .await
            .unwrap()
            .data
            .len(),
        1
    );
    DeleteCustomer::new(created.id.clone())
        .send(&client)
        .await
        .unwrap();
    let retrieved = RetrieveCustomer::new(created.id.clone())
        .send(&client)
        .await
        .unwrap();
    assert!(matches!(
        retrieved,
        RetrieveCustomerReturned::DeletedCustomer(_)
    ));
    let events = ListEvent::new().send(&client).await.unwrap();
    assert_eq!(events.data.len(), 3);
    let event = RetrieveEvent::new(events.data[1].id.clone())
        .send(&client)
        .await
        .unwrap();
    assert_eq!(event.type_.as_str(), "customer.updated");
    assert!(event.data.previous_attributes.is_some());
}

#[tokio::test]
async fn a_paginated_list_yields_every_customer() {
    let account = Account::manual().await;
    for number in 0..25 {
        account.create(&[("name", &number.to_string())]).await;
    }
    let mut after: Option<String> = None;
    let mut names = Vec::new();
    loop {
        let mut list = ListCustomer::new().limit(10);
        if let Some(id) = &after {
            list = list.starting_after(id.clone());
        }
        let page = list.send(&client(&account)).await.unwrap();
        names.extend(
            page.data
                .iter()
                .map(|customer| customer.name.clone().unwrap()),
        );
        after = page.data.last().map(|customer| customer.id.to_string());
        if !page.has_more {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|number| number.to_string()).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_refusal_is_a_typed_error() {
    let account = Account::manual().await;
    let client = client(&account);
    let missing = RetrieveCustomer::new("cus_00000000000000")
        .send(&client)
        .await
        .unwrap_err();
    let StripeError::Stripe(error, 404) = missing else {
        panic!("not a 404: {missing:?}")
    };
    assert_eq!(
        error.code.map(|code| code.to_string()).as_deref(),
        Some("resource_missing")
    );
    let keyed = |name: &str| {
        let strategy = RequestStrategy::Idempotent(IdempotencyKey::new("key").unwrap());
        CreateCustomer::new()
            .name(name)
            .customize()
            .request_strategy(strategy)
    };
    keyed("A").send(&client).await.unwrap();
    let misused = keyed("B").send(&client).await.unwrap_err();
    let StripeError::Stripe(error, 400) = misused else {
        panic!("not a 400: {misused:?}")
    };
    assert_eq!(error.type_.as_str(), "idempotency_error");
}
