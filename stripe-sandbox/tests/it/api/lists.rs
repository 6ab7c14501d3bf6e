//! Lists, cursors and search.

use crate::support::{Account, manual};
use stripe_sandbox::Options;

/// Five customers, two of them in one second; ids from the newest to the oldest.
async fn five(account: &Account) -> Vec<String> {
    let mut ids = Vec::new();
    for (number, email) in ["a@x.co", "B@x.co", "b@x.co", "a@x.co", "c@x.co"]
        .into_iter()
        .enumerate()
    {
        if number != 2 {
            account.advance(10);
        }
        let name = format!("Customer {number}");
        ids.insert(
            0,
            account
                .create(&[
                    ("email", email),
                    ("name", &name),
                    ("metadata[n]", &number.to_string()),
                ])
                .await,
        );
    }
    ids
}

#[tokio::test]
async fn a_list_is_newest_first_even_within_one_second() {
    let account = Account::manual().await;
    let ids = five(&account).await;
    let list = account.get("/v1/customers").await;
    assert_eq!(list.ids(), ids);
    assert_eq!(list.body["object"], "list");
    assert_eq!(list.body["url"], "/v1/customers");
    assert_eq!(list.body["has_more"], false);
}

#[tokio::test]
async fn cursors_walk_both_ways() {
    let account = Account::manual().await;
    let ids = five(&account).await;
    let page = account.get("/v1/customers?limit=2").await;
    assert_eq!(
        (page.ids(), &page.body["has_more"]),
        (ids[..2].to_vec(), &true.into())
    );
    let page = account
        .get(&format!("/v1/customers?limit=3&starting_after={}", ids[1]))
        .await;
    assert_eq!(
        (page.ids(), &page.body["has_more"]),
        (ids[2..].to_vec(), &false.into())
    );
    let page = account
        .get(&format!("/v1/customers?limit=2&ending_before={}", ids[4]))
        .await;
    assert_eq!(
        (page.ids(), &page.body["has_more"]),
        (ids[2..4].to_vec(), &true.into())
    );
    let page = account
        .get(&format!("/v1/customers?ending_before={}", ids[2]))
        .await;
    assert_eq!(
        (page.ids(), &page.body["has_more"]),
        (ids[..2].to_vec(), &false.into())
    );
}

#[tokio::test]
async fn a_customer_created_during_a_walk_does_not_shift_its_pages() {
    let account = Account::manual().await;
    let ids = five(&account).await;
    account.get("/v1/customers?limit=2").await;
    account.create(&[("email", "new@x.co")]).await;
    account.delete(&format!("/v1/customers/{}", ids[2])).await;
    let page = account
        .get(&format!("/v1/customers?starting_after={}", ids[1]))
        .await;
    assert_eq!(page.ids(), ids[3..]);
}

#[tokio::test]
async fn a_cursor_on_a_deleted_customer_works_or_is_missing_as_set() {
    let account = Account::manual().await;
    let ids = five(&account).await;
    account.delete(&format!("/v1/customers/{}", ids[2])).await;
    let query = format!("/v1/customers?starting_after={}", ids[2]);
    assert_eq!(account.get(&query).await.ids(), ids[3..]);

    let strict = Account::open(Options {
        deleted_cursor_works: false,
        ..manual()
    })
    .await;
    let ids = five(&strict).await;
    strict.delete(&format!("/v1/customers/{}", ids[2])).await;
    let refused = strict
        .get(&format!("/v1/customers?starting_after={}", ids[2]))
        .await;
    let missing = (
        400,
        "invalid_request_error",
        Some("resource_missing"),
        Some("starting_after"),
    );
    assert_eq!(refused.refusal(), missing);
}

#[tokio::test]
async fn a_bad_limit_and_a_bad_cursor_are_refused() {
    let account = Account::manual().await;
    let bad = |param| {
        (
            400,
            "invalid_request_error",
            Some("parameter_invalid_integer"),
            Some(param),
        )
    };
    for limit in ["0", "101", "x"] {
        assert_eq!(
            account
                .get(&format!("/v1/customers?limit={limit}"))
                .await
                .refusal(),
            bad("limit")
        );
    }
    let both = account
        .get("/v1/customers?starting_after=a&ending_before=b")
        .await;
    assert_eq!(both.refusal().2, Some("parameters_exclusive"));
    let unknown = account
        .get("/v1/customers?starting_after=cus_00000000000000")
        .await;
    assert_eq!(unknown.refusal().2, Some("resource_missing"));
    assert_eq!(
        account.get("/v1/customers?page=2").await.refusal().2,
        Some("parameter_unknown")
    );
}

#[tokio::test]
async fn filters_are_exact() {
    let account = Account::manual().await;
    let ids = five(&account).await;
    assert_eq!(
        account.get("/v1/customers?email=b%40x.co").await.ids(),
        [ids[2].clone()]
    );
    assert_eq!(
        account.get("/v1/customers?email=a%40x.co").await.ids(),
        [ids[1].clone(), ids[4].clone()]
    );
    let page = account.get("/v1/customers?email=a%40x.co&limit=1").await;
    assert_eq!(
        (page.ids(), &page.body["has_more"]),
        (vec![ids[1].clone()], &true.into())
    );
    let second = crate::support::START + 20;
    assert_eq!(
        account
            .get(&format!("/v1/customers?created={second}"))
            .await
            .ids(),
        ids[2..4]
    );
    assert_eq!(
        account
            .get(&format!("/v1/customers?created[gt]={second}"))
            .await
            .ids(),
        ids[..2]
    );
    assert_eq!(
        account
            .get(&format!("/v1/customers?created[lte]={second}&limit=1"))
            .await
            .ids(),
        ids[2..3]
    );
}

#[tokio::test]
async fn customers_of_a_test_clock_are_hidden_from_the_plain_list() {
    let account = Account::manual().await;
    let id = account.create(&[("test_clock", "clock_1")]).await;
    assert!(account.get("/v1/customers").await.ids().is_empty());
    assert_eq!(
        account.get("/v1/customers?test_clock=clock_1").await.ids(),
        [id.as_str()]
    );
    assert_eq!(
        account.get(&format!("/v1/customers/{id}")).await.status,
        200
    );
}

#[tokio::test]
async fn search_finds_and_pages() {
    let account = Account::manual().await;
    let ids = five(&account).await;
    let search = |query: &str| {
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        format!("/v1/customers/search?query={encoded}")
    };
    assert_eq!(
        account.get(&search("email:'B@X.CO'")).await.ids(),
        ids[2..4]
    );
    assert_eq!(
        account.get(&search("metadata['n']:'4'")).await.ids(),
        ids[..1]
    );
    let first = account
        .get(&format!("{}&limit=3", search("name~'customer'")))
        .await;
    assert_eq!(first.body["object"], "search_result");
    assert_eq!(
        (first.ids(), &first.body["has_more"]),
        (ids[..3].to_vec(), &true.into())
    );
    let next = first.body["next_page"].as_str().unwrap();
    let second = account
        .get(&format!(
            "{}&limit=3&page={next}",
            search("name~'customer'")
        ))
        .await;
    assert_eq!(
        (second.ids(), &second.body["has_more"]),
        (ids[3..].to_vec(), &false.into())
    );
    assert_eq!(second.body["next_page"], serde_json::Value::Null);
    let total = account
        .get(&format!(
            "{}&expand[]=total_count",
            search("name~'customer'")
        ))
        .await;
    assert_eq!(total.body["total_count"], 5);
    assert_eq!(
        account.get(&search("colour:'red'")).await.refusal().3,
        Some("query")
    );
    assert_eq!(
        account.get("/v1/customers/search").await.refusal().2,
        Some("parameter_missing")
    );
}
