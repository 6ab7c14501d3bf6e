//! Faults in what is read.

use std::time::Duration;

use stripe_sandbox::Fault;
use stripe_sandbox::fault::{Kind, Shows};

use crate::support::Account;

const LIST: &str = "GET /v1/customers";

#[tokio::test]
async fn a_lagging_search_misses_what_the_list_shows() {
    let account = Account::manual().await;
    let search = "/v1/customers/search?query=name:'A'";
    account.create(&[("name", "A")]).await;
    let lag = Kind::SearchLag {
        delay: Duration::from_secs(60),
    };
    account
        .sandbox()
        .inject(Fault::always("GET /v1/customers/search", lag));
    assert!(account.get(search).await.ids().is_empty());
    assert_eq!(account.get("/v1/customers").await.ids().len(), 1);
    account.advance(60);
    assert_eq!(account.get(search).await.ids().len(), 1);
}

#[tokio::test]
async fn lists_lie_as_they_are_told() {
    let account = Account::manual().await;
    let mut ids = Vec::new();
    for name in ["1", "2", "3", "4"] {
        ids.insert(0, account.create(&[("name", name)]).await);
    }
    let page = async |kind: Kind, path: &str| {
        account.sandbox().inject(Fault::once(LIST, kind));
        account.get(path).await
    };
    let after = format!("/v1/customers?limit=2&starting_after={}", ids[1]);
    assert_eq!(page(Kind::RepeatedPage, &after).await.ids(), ids[..2]);
    let empty = page(Kind::EmptyPage, "/v1/customers").await;
    assert_eq!(
        (empty.ids().len(), &empty.body["has_more"]),
        (0, &true.into())
    );
    assert_eq!(
        page(Kind::ShortPage { limit: 1 }, "/v1/customers?limit=100")
            .await
            .ids(),
        ids[..1]
    );
    assert_eq!(page(Kind::LostItem, "/v1/customers").await.ids().len(), 3);
    let mut doubled = page(Kind::DuplicateItem, "/v1/customers").await.ids();
    assert_eq!(doubled.len(), 5);
    doubled.dedup();
    assert_eq!(doubled, ids);
    let turned: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(
        page(Kind::ShuffledPage, "/v1/customers").await.ids(),
        turned
    );
    let broken = page(Kind::BrokenItem, "/v1/customers").await;
    assert_eq!(
        broken.body["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["created"].is_string())
            .count(),
        1
    );
    let strange = page(Kind::UnknownFields, "/v1/customers").await;
    assert_eq!(strange.body["data"][0]["tax_exempt"], "unheard_of");
    assert_eq!(
        account.get("/v1/customers").await.ids(),
        ids,
        "the faults are used up"
    );
}

#[tokio::test]
async fn another_account_has_other_customers_and_another_id() {
    let account = Account::manual().await;
    let id = account.create(&[("name", "A")]).await;
    let fault = account
        .sandbox()
        .inject(Fault::always("*", Kind::OtherAccount));
    let theirs = account.get("/v1/customers").await.ids();
    assert!(theirs.len() == 3 && !theirs.contains(&id));
    assert_eq!(
        account.get(&format!("/v1/customers/{id}")).await.status,
        404
    );
    let stranger = account.get("/v1/account").await.body["id"].clone();
    assert!(account.sandbox().remove_fault(fault));
    assert_ne!(account.get("/v1/account").await.body["id"], stranger);
    assert_eq!(account.get("/v1/customers").await.ids(), [id]);
}

#[tokio::test]
async fn other_mode_has_the_same_id_and_names_customers_of_this() {
    let account = Account::manual().await;
    let id = account.create(&[("name", "A")]).await;
    let own = account.get("/v1/account").await.body["id"].clone();
    account
        .sandbox()
        .inject(Fault::always("*", Kind::OtherModeKey));
    let page = account.get("/v1/customers").await;
    assert_eq!(page.ids().len(), 3);
    assert_eq!(page.body["data"][0]["livemode"], true);
    assert_eq!(account.get("/v1/account").await.body["id"], own);
    let message = async |id: &str| {
        let reply = account.get(&format!("/v1/customers/{id}")).await;
        assert_eq!(reply.status, 404);
        reply.body["error"]["message"].as_str().unwrap().to_owned()
    };
    assert!(
        message(&id)
            .await
            .contains("similar object exists in test mode")
    );
    assert!(!message("cus_unknown").await.contains("similar"));
}

#[tokio::test]
async fn mismatched_response_shows_something_else_and_has_its_effect() {
    let account = Account::manual().await;
    let answer = async |shows, path: &str| {
        let fault = Fault::once("*", Kind::MismatchedResponse { shows });
        account.sandbox().inject(fault);
        account.post(path, &[("name", "A")]).await.body
    };
    let other = answer(Shows::OtherObject, "/v1/customers").await;
    assert_eq!(other["id"], "cus_AnotherRequest");
    let live = answer(Shows::OtherMode, "/v1/customers").await;
    assert_eq!(live["livemode"], true);
    let nothing = answer(Shows::Nothing, "/v1/customers").await;
    assert_eq!(nothing, serde_json::json!({}));
    assert_eq!(account.sandbox().customer_count(), 3);
    let key = Fault::always("*", Kind::OtherModeKey);
    account.sandbox().inject(key);
    let of_other_mode = answer(Shows::OtherMode, "/v1/customers").await;
    assert_eq!(of_other_mode["livemode"], true, "not turned back");
}

#[tokio::test]
async fn events_can_be_held_in_one_second() {
    let account = Account::manual().await;
    account
        .sandbox()
        .inject(Fault::always("*", Kind::EventsInOneSecond));
    for _ in 0..3 {
        account.create(&[]).await;
        account.advance(5);
    }
    let events = account.sandbox().events();
    assert!(
        events
            .iter()
            .all(|event| event["created"] == events[0]["created"])
    );
    account.sandbox().clear_faults();
    account.create(&[]).await;
    assert_ne!(
        account.sandbox().events()[0]["created"],
        events[0]["created"]
    );
}
