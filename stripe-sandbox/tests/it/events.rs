//! Events.

use serde_json::json;
use stripe_sandbox::Options;

use crate::support::{Account, START, manual};

#[tokio::test]
async fn every_write_raises_an_event_that_names_its_request() {
    let account = Account::manual().await;
    let created = account
        .post_keyed(
            "/v1/customers",
            "key-1",
            &[("name", "A"), ("metadata[k]", "1")],
        )
        .await;
    let id = created.body["id"].as_str().unwrap();
    account.advance(1);
    account
        .post(
            &format!("/v1/customers/{id}"),
            &[("name", "B"), ("metadata[k]", "2"), ("metadata[l]", "3")],
        )
        .await;
    account.delete(&format!("/v1/customers/{id}")).await;
    let events = account.get("/v1/events").await.body;
    assert_eq!(
        (&events["object"], &events["url"]),
        (&"list".into(), &"/v1/events".into())
    );
    let kinds: Vec<&str> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["customer.deleted", "customer.updated", "customer.created"]
    );

    let create = &events["data"][2];
    assert_eq!(
        create["request"],
        json!({ "id": created.header("request-id"), "idempotency_key": "key-1" })
    );
    assert_eq!(create["data"]["object"], created.body);
    assert_eq!(
        (&create["created"], &create["livemode"]),
        (&START.into(), &false.into())
    );
    assert_eq!(create["api_version"], "2026-09-30.endive");
    assert_eq!(create["pending_webhooks"], 0);

    let update = &events["data"][1]["data"];
    assert_eq!(
        update["previous_attributes"],
        json!({ "name": "A", "metadata": { "k": "1", "l": null } })
    );
    assert_eq!(update["object"]["name"], "B");
    assert_eq!(events["data"][0]["data"]["object"]["id"], id);

    let event = account
        .get(&format!("/v1/events/{}", create["id"].as_str().unwrap()))
        .await;
    assert_eq!(&event.body, create);
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_silent_unless_set_otherwise() {
    let account = Account::manual().await;
    let id = account.create(&[("name", "A")]).await;
    account
        .post(&format!("/v1/customers/{id}"), &[("name", "A")])
        .await;
    assert_eq!(account.sandbox().events().len(), 1);

    let loud = Account::open(Options {
        noop_update_emits: true,
        ..manual()
    })
    .await;
    let id = loud.create(&[("name", "A")]).await;
    loud.post(&format!("/v1/customers/{id}"), &[("name", "A")])
        .await;
    assert_eq!(loud.sandbox().events().len(), 2);
}

#[tokio::test]
async fn a_humans_edit_names_no_request() {
    let account = Account::manual().await;
    let created = account
        .sandbox()
        .create_as_human(&[("email", "a@b.co")])
        .unwrap();
    let id = created["id"].as_str().unwrap();
    account
        .sandbox()
        .edit_as_human(id, &[("name", "Human")])
        .unwrap();
    let event = &account.get("/v1/events?limit=1").await.body["data"][0];
    assert_eq!(
        event["request"],
        json!({ "id": null, "idempotency_key": null })
    );
    assert_eq!(event["data"]["object"]["name"], "Human");
}

#[tokio::test]
async fn events_filter_by_type_and_time_and_go_after_thirty_days() {
    let account = Account::manual().await;
    let id = account.create(&[("name", "A")]).await;
    account.advance(100);
    account
        .post(&format!("/v1/customers/{id}"), &[("name", "B")])
        .await;
    let count = async |query: &str| {
        account
            .get(&format!("/v1/events?{query}"))
            .await
            .ids()
            .len()
    };
    assert_eq!(count("type=customer.updated").await, 1);
    assert_eq!(count("type=customer.*").await, 2);
    assert_eq!(
        count("types[]=customer.created&types[]=customer.deleted").await,
        1
    );
    assert_eq!(count(&format!("created[gte]={}", START + 100)).await, 1);
    assert_eq!(count("delivery_success=true").await, 2);
    let newest = account.get("/v1/events?limit=1").await;
    assert_eq!(newest.body["has_more"], true);
    assert_eq!(
        count(&format!("starting_after={}", newest.ids()[0])).await,
        1
    );
    account.advance(30 * 24 * 3600);
    assert_eq!(count("").await, 1);
    account.advance(1);
    assert_eq!(count("").await, 0);
    assert_eq!(
        account
            .get(&format!("/v1/events/{}", newest.ids()[0]))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn events_of_a_range_of_time_page_like_all_and_their_dates_never_fall() {
    let account = Account::manual().await;
    let mut dates = Vec::new();
    for number in 0..40 {
        account.advance(number % 3);
        account.create(&[]).await;
        dates.push(START + (0..=number).map(|it| it % 3).sum::<u64>().cast_signed());
    }
    let seconds = |body: &serde_json::Value| -> Vec<i64> {
        let data = body["data"].as_array().unwrap();
        data.iter()
            .map(|it| it["created"].as_i64().unwrap())
            .collect()
    };
    dates.reverse();
    let middle = dates[20];
    for (query, expected) in [
        (
            format!("created[gt]={middle}"),
            dates
                .iter()
                .filter(|it| **it > middle)
                .copied()
                .collect::<Vec<_>>(),
        ),
        (
            format!("created[lte]={middle}"),
            dates.iter().filter(|it| **it <= middle).copied().collect(),
        ),
        (
            format!("created={middle}"),
            dates.iter().filter(|it| **it == middle).copied().collect(),
        ),
        (format!("created[gt]={}", dates[0]), vec![]),
    ] {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = account
                .get(&format!("/v1/events?limit=7&{query}{after}"))
                .await;
            found.extend(seconds(&page.body));
            let ids = page.ids();
            let Some(last) = ids.last().filter(|_| page.body["has_more"] == true) else {
                break;
            };
            after = format!("&starting_after={last}");
        }
        assert_eq!(found, expected, "{query}");
    }
}
