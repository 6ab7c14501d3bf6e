//! The Stripe client against answers that are wrong, late, half, or not Stripe's at all.

use std::time::{Duration, Instant};

use platform::config::Secret;
use sync_worker::outcome::{Action, Operation, action};
use sync_worker::stripe::{EventPage, Failure, FailureKind, Lane, ListPage, Options, Stripe};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::stripe_server::{KEY, Reaction, Server, client};

const CUSTOMER: &str = r#"{"id":"cus_1","object":"customer","email":"bob@x.com","name":null,"metadata":{},"created":7}"#;
const HTML: &str = "<html><h1>Bad Gateway</h1></html>";

async fn retrieve_from(reaction: Reaction) -> Result<(), Failure> {
    let server = Server::start([reaction]).await;
    client(&server.url)
        .retrieve(Lane::Upsync, "cus_1")
        .await
        .map(|_| ())
}

async fn failure_of(reaction: Reaction) -> Failure {
    retrieve_from(reaction).await.unwrap_err()
}

#[tokio::test]
async fn a_request_says_who_asks_which_version_and_under_which_key() {
    let server = Server::start(vec![Reaction::json(200, CUSTOMER); 2]).await;
    let stripe = client(&format!("{}/", server.url));
    stripe
        .create(Lane::Upsync, "email=bob%40x.com", "key-1")
        .await
        .unwrap();
    stripe.retrieve(Lane::Upsync, "cus_1").await.unwrap();
    let seen = server.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].target.as_str()),
        ("POST", "/v1/customers")
    );
    assert_eq!(seen[0].body, "email=bob%40x.com");
    assert_eq!(seen[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(seen[0].headers["stripe-version"], "2026-09-30.endive");
    assert_eq!(seen[0].headers["idempotency-key"], "key-1");
    assert_eq!(
        seen[0].headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(seen[0].headers["user-agent"].starts_with("customer-sync/"));
    assert_eq!(
        (seen[1].method.as_str(), seen[1].target.as_str()),
        ("GET", "/v1/customers/cus_1")
    );
    assert!(!seen[1].headers.contains_key("idempotency-key"));
}

#[tokio::test]
async fn many_requests_use_one_connection_and_refusals_do_not_break_it() {
    let refusal = r#"{"error":{"type":"invalid_request_error","message":"no"}}"#;
    let mut reactions = vec![Reaction::json(200, CUSTOMER); 20];
    reactions[5] = Reaction::json(400, refusal);
    reactions[6] = Reaction::json(502, HTML);
    reactions[7] = Reaction::json(500, "");
    let server = Server::start(reactions).await;
    let stripe = client(&server.url);
    for _ in 0..20 {
        let _ = stripe.clone().retrieve(Lane::Upsync, "cus_1").await;
    }
    assert_eq!((server.seen().len(), server.connections()), (20, 1));
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failure = client(&url)
        .create(Lane::Upsync, "email=bob", "key")
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent);
    assert_eq!(failure.status, None);
}

#[tokio::test]
async fn nothing_is_sent_to_who_can_not_prove_who_he_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let failure = client(&url)
        .retrieve(Lane::Upsync, "cus_1")
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
}

#[tokio::test]
async fn a_reset_a_hang_up_and_a_cut_body_leave_the_effect_unknown() {
    for reaction in [Reaction::Reset, Reaction::Close] {
        let failure = failure_of(reaction.clone()).await;
        assert_eq!(
            failure.kind,
            FailureKind::Unknown,
            "{reaction:?}: {failure}"
        );
        assert_eq!(failure.status, None);
    }
    let failure = failure_of(Reaction::Truncate(200, CUSTOMER.into())).await;
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::Unknown, Some(200))
    );
    assert_eq!(failure.request_id.as_deref(), Some("req_cut"));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let server = Server::start([Reaction::Silence]).await;
    let mut options = Options::new(Secret::new(KEY), &server.url);
    options.timeout = Duration::from_millis(200);
    let started = Instant::now();
    let failure = Stripe::new(options)
        .unwrap()
        .create(Lane::Upsync, "email=bob", "key")
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(server.seen().len(), 1, "nothing is sent twice");
}

#[tokio::test]
async fn a_success_that_makes_no_sense_is_told_from_a_failure() {
    let bodies = [
        "",
        "null",
        HTML,
        "{\"id\":\"cus_1\"",
        r#"{"object":"customer","email":"bob@x.com"}"#,
    ];
    for body in bodies {
        let headers = [("request-id", "req_1"), ("idempotent-replayed", "true")];
        let failure = failure_of(Reaction::with_headers(200, &headers, body)).await;
        assert_eq!(
            (failure.kind, failure.status),
            (FailureKind::Unparsed, Some(200)),
            "{body}"
        );
        assert_eq!(failure.request_id.as_deref(), Some("req_1"));
        assert!(failure.replayed);
    }
    let other = r#"{"id":"cus_2","object":"customer","email":"al@x.com"}"#;
    let failure = failure_of(Reaction::json(200, other)).await;
    assert_eq!(failure.kind, FailureKind::Mismatched);
    // Of this one the id is known, and nothing else.
    let server = Server::start([Reaction::json(200, r#"{"id":"cus_1","object":"customer"}"#)]);
    let server = server.await;
    let read = client(&server.url).retrieve(Lane::Upsync, "cus_1").await;
    assert!(read.unwrap().value.unreadable);
    let garbage = [0xff, 0xfe, b'{'];
    let failure = failure_of(Reaction::Answer(200, Vec::new(), garbage.to_vec())).await;
    assert_eq!(failure.kind, FailureKind::Unparsed);
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let endless = vec![b' '; 9 * 1024 * 1024];
    let failure = failure_of(Reaction::Answer(200, Vec::new(), endless.clone())).await;
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::TooLarge, Some(200))
    );
    let failure = failure_of(Reaction::Answer(503, Vec::new(), endless)).await;
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::Answered, Some(503))
    );
}

#[tokio::test]
async fn an_answer_that_is_not_stripes_keeps_its_status() {
    for (status, body) in [
        (502, HTML),
        (500, ""),
        (503, "null"),
        (404, HTML),
        (403, "{}"),
    ] {
        let failure = failure_of(Reaction::json(status, body)).await;
        assert_eq!(
            (failure.kind, failure.status),
            (FailureKind::Answered, Some(status))
        );
        assert!(!failure.is_from_stripe());
    }
}

#[tokio::test]
async fn a_refusal_is_told_whole_with_its_headers() {
    let headers = [
        ("request-id", "req_9"),
        ("stripe-should-retry", "false"),
        ("stripe-rate-limited-reason", "endpoint-rate"),
        ("retry-after", "3"),
    ];
    let body = r#"{"error":{"type":"invalid_request_error","code":"rate_limit","message":"Too many","param":"x"}}"#;
    let failure = failure_of(Reaction::with_headers(429, &headers, body)).await;
    assert_eq!(failure.status, Some(429));
    assert_eq!(failure.code.as_deref(), Some("rate_limit"));
    assert_eq!(failure.param.as_deref(), Some("x"));
    assert_eq!(failure.message, "Too many");
    assert_eq!(failure.request_id.as_deref(), Some("req_9"));
    assert_eq!(failure.should_retry, Some(false));
    assert_eq!(
        failure.rate_limited_reason.as_deref(),
        Some("endpoint-rate")
    );
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn a_retry_after_that_is_a_date_or_absurd_stops_nothing() {
    for text in [
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "-1",
        "99999999999999999999",
        "soon",
    ] {
        let failure = failure_of(Reaction::with_headers(503, &[("retry-after", text)], "")).await;
        assert_eq!(failure.retry_after, None, "{text}");
    }
    let server = Server::start([Reaction::with_headers(
        429,
        &[("retry-after", "18446744073709551615")],
        "",
    )])
    .await;
    let failure = client(&server.url)
        .retrieve(Lane::Upsync, "cus_1")
        .await
        .unwrap_err();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(300)));
}

#[tokio::test]
async fn after_a_rate_limit_the_next_request_waits_but_not_after_a_lock() {
    let lock =
        r#"{"error":{"type":"invalid_request_error","code":"lock_timeout","message":"locked"}}"#;
    let headers = [("retry-after", "1")];
    for (body, waits) in [("", true), (lock, false)] {
        let limited = Reaction::with_headers(429, &headers, body);
        let server = Server::start([limited, Reaction::json(200, CUSTOMER)]).await;
        let stripe = client(&server.url);
        stripe.retrieve(Lane::Downsync, "cus_1").await.unwrap_err();
        let started = Instant::now();
        stripe.retrieve(Lane::Upsync, "cus_1").await.unwrap();
        assert_eq!(started.elapsed() >= Duration::from_millis(900), waits);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere() {
    let elsewhere = Server::start([Reaction::json(200, CUSTOMER)]).await;
    let location = format!("{}/v1/customers", elsewhere.url);
    let failure = failure_of(Reaction::with_headers(302, &[("location", &location)], "")).await;
    assert_eq!(failure.status, Some(302));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_quotes_our_key_does_not_give_it_away() {
    let body = format!(
        r#"{{"error":{{"type":"invalid_request_error","message":"Invalid API Key provided: {KEY}"}}}}"#
    );
    let failure = failure_of(Reaction::json(401, &body)).await;
    assert_eq!(failure.message, "Invalid API Key provided: ***");
}

#[tokio::test]
async fn no_failure_shows_an_address_or_the_key() {
    let quotes = r#"{"error":{"type":"invalid_request_error","message":"Invalid email address: bob@x.com"}}"#;
    let reactions = [
        Reaction::json(400, quotes),
        Reaction::json(200, r#"{"data":"bob@x.com"}"#),
        Reaction::json(200, "bob@x.com"),
        Reaction::Reset,
        Reaction::Truncate(200, b"bob@x.com bob@x.com".to_vec()),
    ];
    let count = reactions.len();
    let server = Server::start(reactions).await;
    let page = ListPage {
        email: Some("bob@x.com".to_owned()),
        ..ListPage::default()
    };
    for _ in 0..count {
        let failure = client(&server.url)
            .list(Lane::Upsync, &page)
            .await
            .unwrap_err();
        let shown = format!("{failure} {failure:?}");
        assert!(!shown.contains("bob") && !shown.contains(KEY), "{shown}");
    }
    let url = server.url.clone();
    drop(server);
    let failure = client(&url).list(Lane::Upsync, &page).await.unwrap_err();
    let shown = format!("{failure} {failure:?} {}", failure.message);
    assert!(!shown.contains("bob") && !shown.contains("http"), "{shown}");
}

#[tokio::test]
async fn one_unreadable_item_spoils_the_page() {
    let lists = [
        format!(
            r#"{{"object":"list","has_more":false,"data":[{CUSTOMER},{{"object":"customer","email":"al@x.com"}}]}}"#
        ),
        format!(r#"{{"object":"list","data":[{CUSTOMER}]}}"#),
        r#"{"object":"list","has_more":false}"#.to_owned(),
    ];
    for list in lists {
        let server = Server::start([Reaction::json(200, &list)]).await;
        let result = client(&server.url)
            .list(Lane::Downsync, &ListPage::default())
            .await;
        assert_eq!(result.unwrap_err().kind, FailureKind::Unparsed, "{list}");
    }
}

#[tokio::test]
async fn a_page_from_another_version_is_read() {
    let list = r#"{"object":"list","url":"/v1/customers","has_more":true,"total":{"x":1},"data":[
        {"id":"cus_1","object":"customer","email":"bob@x.com","tax_exempt":"perhaps","shipping":5,"holograms":[1]}]}"#;
    let events = r#"{"has_more":false,"data":[
        {"id":"evt_1","object":"event","type":"customer.deleted","data":{"object":{"id":"cus_1"}}},
        {"id":"evt_2","object":"event","type":"customer.subscription.deleted","data":{"object":{"id":"sub_1"}}}]}"#;
    let server = Server::start([Reaction::json(200, list), Reaction::json(200, events)]).await;
    let stripe = client(&server.url);
    let page = stripe
        .list(Lane::Downsync, &ListPage::default())
        .await
        .unwrap()
        .value;
    assert_eq!((page.items.len(), page.has_more), (1, true));
    let page = stripe
        .events(Lane::Downsync, &EventPage::default())
        .await
        .unwrap()
        .value;
    assert_eq!((page.items.len(), page.has_more), (1, false));
    assert_eq!(page.cursor.as_deref(), Some("evt_2"));
}

#[tokio::test]
async fn an_id_that_is_none_reaches_no_other_endpoint() {
    let server =
        Server::start([Reaction::json(200, CUSTOMER), Reaction::json(200, CUSTOMER)]).await;
    let stripe = client(&server.url);
    for id in ["", ".", "..", "cus 1", "cus_\u{e9}", "cus_1\r\nx: y"] {
        for failure in [
            stripe.delete(Lane::Upsync, id).await.unwrap_err(),
            stripe.retrieve(Lane::Upsync, id).await.unwrap_err(),
            stripe
                .update(Lane::Upsync, id, "name=", "key")
                .await
                .unwrap_err(),
        ] {
            assert_eq!(failure.kind, FailureKind::Unsendable, "{id:?}");
        }
    }
    let long = "k".repeat(256);
    for key in ["", "a\nb", long.as_str()] {
        let failure = stripe.create(Lane::Upsync, "name=", key).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsendable);
        assert_eq!(
            action(Operation::Create, &failure),
            Action::Park {
                reason: "unsendable"
            }
        );
    }
    assert!(server.seen().is_empty());
    for id in ["a/b?c#d", "../events"] {
        stripe.retrieve(Lane::Upsync, id).await.unwrap_err();
    }
    let targets: Vec<_> = server.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        ["/v1/customers/a%2Fb%3Fc%23d", "/v1/customers/..%2Fevents"]
    );
}

#[tokio::test]
async fn a_live_key_is_not_sent_unencrypted() {
    let client = |key: &str, url: &str| Stripe::new(Options::new(Secret::new(key), url));
    let stripe = client("sk_live_1", "https://api.stripe.com").unwrap();
    assert_eq!(stripe.livemode(), Some(true));
    let stripe = client("rk_test_1", "http://stripe-sandbox:12111").unwrap();
    assert_eq!(stripe.livemode(), Some(false));
    assert!(client("sk_live_1", "http://127.0.0.1:1").is_ok());
    for (key, url) in [
        ("rk_live_1", "http://stripe-sandbox:12111"),
        ("sk_test_1", "api.stripe.com"),
        ("sk_test_1", "ftp://api.stripe.com"),
        ("sk_test_1\n", "https://api.stripe.com"),
    ] {
        let error = client(key, url).map(|_| ()).unwrap_err();
        assert!(!format!("{error:?}").contains("_1"), "{error:?}");
    }
}

#[tokio::test]
async fn response_under_another_idempotency_key_does_not_match() {
    let refusal = r#"{"error":{"type":"invalid_request_error","message":"no"}}"#;
    let named = [("idempotency-key", "another")];
    for (status, body) in [(200, CUSTOMER), (400, refusal)] {
        let server = Server::start([Reaction::with_headers(status, &named, body)]).await;
        let created = client(&server.url)
            .create(Lane::Upsync, "email=bob%40x.com", "key")
            .await;
        assert_eq!(
            created.unwrap_err().kind,
            FailureKind::Mismatched,
            "{status}"
        );
    }
    let same = [("idempotency-key", "key")];
    let server = Server::start([Reaction::with_headers(200, &same, CUSTOMER)]).await;
    let created = client(&server.url)
        .create(Lane::Upsync, "email=bob%40x.com", "key")
        .await;
    assert!(created.is_ok());
}
