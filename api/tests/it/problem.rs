//! Every refusal is a problem with a code.

use platform::test_support::each_database;
use poem::Body;
use serde_json::json;

use crate::client::{Api, CUSTOMERS, builder, path_of};

const WITH_BODY: [(&str, &str); 5] = [
    ("POST", CUSTOMERS),
    ("PATCH", "/api/v1/customers/bob@example.com"),
    ("POST", "/api/create-customer/"),
    ("PUT", "/api/update-customer/"),
    ("DELETE", "/api/delete-customer/"),
];

#[tokio::test]
async fn a_body_that_is_no_json_is_400_and_one_of_another_shape_422() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("bob@example.com").await;
        let deep = format!("{{\"name\":{}", "[".repeat(10_000));
        for (method, path) in WITH_BODY {
            for text in ["", "{", "name=Bob", "{\"name\":}", "\u{feff}{}", &deep] {
                let request = builder(method, path, &[]).content_type("application/json");
                let refused = api.send(request.body(text.to_owned())).await;
                assert_eq!(
                    refused.problem(400, "malformed_json"),
                    None,
                    "{method} {path} {text}"
                );
            }
            for body in [json!([]), json!(null), json!("x"), json!(1)] {
                let refused = api.call(method, path, body).await;
                refused.problem(422, "validation_failed");
            }
            let request = builder(method, path, &[]).content_type("application/json");
            let refused = api.send(request.body(vec![b'{', 0xff, b'}'])).await;
            refused.problem(400, "malformed_json");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_is_json_and_at_most_64_kib() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("bob@example.com").await;
        for (method, path) in WITH_BODY {
            for other in ["text/plain", "application/x-www-form-urlencoded"] {
                let request = builder(method, path, &[]).content_type(other);
                let refused = api.send(request.body("{}")).await;
                refused.problem(415, "unsupported_media_type");
            }
            let refused = api.send(builder(method, path, &[]).body("{}")).await;
            refused.problem(415, "unsupported_media_type");

            let padded = |size: usize| format!("{{\"email\": \"bob\"{}}}", " ".repeat(size - 16));
            let request = builder(method, path, &[]).content_type("application/json");
            let refused = api.send(request.body(padded(64 * 1024))).await;
            refused.problem(422, "validation_failed");
            let request = builder(method, path, &[]).content_type("application/json");
            let refused = api.send(request.body(padded(64 * 1024 + 1))).await;
            refused.problem(413, "payload_too_large");
            // Without a length, as with chunks.
            let endless = Body::from_async_read(tokio::io::repeat(b' '));
            let request = builder(method, path, &[]).content_type("application/json");
            api.send(request.body(endless))
                .await
                .problem(413, "payload_too_large");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for_for_ever() {
    each_database(async |database| {
        let api = Api::on(database);
        let (_silent, received) = tokio::io::duplex(64);
        let request = builder("POST", CUSTOMERS, &[("content-type", "application/json")]);
        let request = request.body(Body::from_async_read(received));
        tokio::time::pause();
        let refused = api.send(request).await;
        tokio::time::resume();
        refused.problem(408, "request_timeout");
    })
    .await;
}

#[tokio::test]
async fn an_unknown_path_is_404_and_an_unknown_method_405_with_those_that_are_known() {
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("bob@example.com").await);
        let unknown = [
            "/nothing",
            "/api",
            "/api/",
            "/api/v2/customers",
            "/api/v1/customers/",
            "//",
            "/docs/x",
        ];
        for path in unknown {
            api.get(path).await.problem(404, "not_found");
        }
        let sync = format!("{path}/sync");
        let cases = [
            ("PUT", CUSTOMERS, "GET, HEAD, POST"),
            ("POST", &path, "DELETE, GET, HEAD, PATCH"),
            ("OPTIONS", &path, "DELETE, GET, HEAD, PATCH"),
            ("DELETE", &sync, "GET, HEAD"),
            ("GET", "/api/create-customer/", "POST"),
            ("GET", "/api/update-customer", "PUT"),
            ("POST", "/api/delete-customer/", "DELETE"),
            ("POST", "/health/live", "GET, HEAD"),
            ("BREW", "/openapi.json", "GET, HEAD"),
        ];
        for (method, path, allow) in cases {
            let refused = api.send(builder(method, path, &[]).finish()).await;
            refused.problem(405, "method_not_allowed");
            assert_eq!(refused.header("allow"), allow, "{method} {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sane_request_id_is_taken_over_and_any_other_replaced() {
    each_database(async |database| {
        let api = Api::on(database);
        let reply = api.get_with("/nothing", &[("x-request-id", "abc-1")]).await;
        assert_eq!(reply.json()["request_id"], "abc-1");
        assert_eq!(reply.header("x-request-id"), "abc-1");
        for odd in ["", "a b", "bob@example.com", &"x".repeat(129)] {
            let reply = api.get_with(CUSTOMERS, &[("x-request-id", odd)]).await;
            let id = reply.header("x-request-id");
            uuid::Uuid::parse_str(id).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_never_by_path() {
    each_database(async |database| {
        let api = Api::on(database);
        api.get("/api/v1/customers/very-own-marker@example.com")
            .await
            .problem(404, "not_found");
        api.get("/very-own-marker").await.problem(404, "not_found");
        let metrics = api.get("/metrics").await;
        assert_eq!(metrics.status, 200);
        let line =
            "http_requests_total{route=\"/api/v1/customers/{key}\",method=\"GET\",status=\"404\"}";
        assert!(metrics.text.contains(line), "{}", metrics.text);
        assert!(
            metrics
                .text
                .contains("http_request_duration_seconds_bucket")
        );
        assert!(!metrics.text.contains("very-own-marker"));
    })
    .await;
}

/// A69
#[tokio::test]
async fn text_that_cannot_be_stored_is_refused_wherever_it_stands() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("bob@example.com").await;
        let texts: [&[u8]; 4] = [b"\\u0000", b"\\ud83d", b"\\ude00x", b"\xc3\x28"];
        for (method, path) in WITH_BODY {
            for text in texts {
                let field = if method == "DELETE" { "email" } else { "name" };
                let mut body = br#"{"email":"bob@example.com","name":"Bob"}"#.to_vec();
                if field == "email" {
                    body = br#"{"email":"bob@example.com"}"#.to_vec();
                }
                let end = body.len() - 2;
                body.splice(end..end, text.iter().copied());
                let request = builder(method, path, &[]).content_type("application/json");
                let refused = api.send(request.body(body)).await;
                let named = refused.problem(422, "validation_failed");
                assert_eq!(named.as_deref(), Some(field), "{method} {path} {text:?}");
            }
        }
        for path in [
            "/api/v1/customers/%00",
            "/api/v1/customers/bob%00@example.com",
            "/api/v1/customers?email=%00",
            "/api/v1/customers?email=bob%00@example.com",
            "/api/v1/customers?cursor=%00",
            "/api/v1/parked?reason=%00",
            "/api/v1/parked?customer=%00",
            "/api/v1/parked/%00",
            "/api/v1/unmatched/%00",
            "/api/v1/unmatched/cus_%00",
            "/api/v1/unmatched?customer=%00",
            "/api/v1/conflicts/%00",
        ] {
            let reply = api.get(path).await;
            let is_refused = matches!(reply.status, 400 | 404 | 422);
            assert!(is_refused, "{path}: {} {}", reply.status, reply.text);
        }
        for path in ["retry", "dismiss"] {
            let path = format!("/api/v1/unmatched/cus_%00/{path}");
            let reply = api.call("POST", &path, json!({})).await;
            assert_eq!(reply.status, 404, "{path}: {}", reply.text);
        }
    })
    .await;
}
