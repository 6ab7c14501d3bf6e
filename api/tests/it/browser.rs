//! What a web site can do through the browser of somebody who runs the API without keys on loopback.

use platform::test_support::each_database;
use poem::Body;
use serde_json::json;

use crate::client::{Api, CUSTOMERS, builder};

const LOCAL: (&str, &str) = ("host", "127.0.0.1:8000");

#[tokio::test]
async fn dns_rebinding_page_reads_and_writes_nothing() {
    each_database(async |database| {
        let api = Api::on_loopback(database, "", &[]);
        for host in [
            "evil.example",
            "evil.example:8000",
            "127.0.0.1.evil.example",
            "",
        ] {
            let headers = [("host", host)];
            for path in [
                CUSTOMERS,
                "/api/v1/status",
                "/docs",
                "/openapi.json",
                "/metrics",
                "/nothing",
            ] {
                let refused = api.get_with(path, &headers).await;
                assert_eq!(
                    refused.fault(403, "host_not_allowed"),
                    "Host",
                    "{host} {path}"
                );
            }
            let body = json!({"email": "bob@example.com"});
            let refused = api.call_with("POST", CUSTOMERS, body, &headers).await;
            refused.problem(403, "host_not_allowed");
            let ready = api.get_with("/health/ready", &headers).await.expect(200);
            assert_eq!(ready, json!({"status": "ready"}), "no details");
            assert_eq!(api.get_with("/health/live", &headers).await.status, 200);
        }
        api.get(CUSTOMERS).await.problem(403, "host_not_allowed");
        assert!(api.customers().await.is_empty());
        for host in ["127.0.0.1:8000", "localhost", "[::1]:8000"] {
            api.get_with(CUSTOMERS, &[("host", host)]).await.expect(200);
        }
    })
    .await;
}

#[tokio::test]
async fn page_of_another_site_changes_nothing() {
    each_database(async |database| {
        let api = Api::on_loopback(database, "", &[]);
        let body = json!({"email": "ada@example.com"});
        let customer = api
            .call_with("POST", CUSTOMERS, body, &[LOCAL])
            .await
            .expect(201);
        let id = customer["id"].as_str().unwrap();
        let changes = [
            ("POST", CUSTOMERS.to_owned()),
            ("POST", "/api/create-customer/".to_owned()),
            ("PUT", "/api/update-customer".to_owned()),
            ("DELETE", "/api/delete-customer/".to_owned()),
            ("PATCH", format!("{CUSTOMERS}/{id}")),
            ("DELETE", format!("{CUSTOMERS}/{id}")),
            ("POST", format!("/api/v1/parked/{id}/retry")),
            ("POST", format!("/api/v1/parked/{id}/dismiss")),
            ("POST", "/api/v1/conflicts/1/dismiss".to_owned()),
            ("POST", "/api/v1/unmatched/cus_1/retry".to_owned()),
            ("POST", "/api/v1/refused-deletions/accept".to_owned()),
        ];
        let sites = [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:9000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ];
        let body = json!({"email": "ada@example.com", "name": "Eve"});
        for (method, path) in &changes {
            for site in sites {
                let refused = api
                    .call_with(method, path, body.clone(), &[LOCAL, site])
                    .await;
                assert_eq!(
                    refused.fault(403, "cross_site"),
                    "Origin",
                    "{method} {path} {site:?}"
                );
                let bare = builder(method, path, &[LOCAL, site]).body(Body::empty());
                api.send(bare).await.problem(403, "cross_site");
            }
        }
        let own = [
            LOCAL,
            ("origin", "http://127.0.0.1:8000"),
            ("sec-fetch-site", "same-origin"),
        ];
        let path = format!("{CUSTOMERS}/{id}");
        let unchanged = api.get_with(&path, &[LOCAL]).await.expect(200);
        assert_eq!(unchanged, customer);
        let body = json!({"name": "Ada"});
        api.call_with("PATCH", &path, body, &own).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn form_of_another_site_is_no_json() {
    each_database(async |database| {
        let api = Api::on_loopback(database, "", &[]);
        let body = json!({"email": "ada@example.com"}).to_string();
        for content_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "",
        ] {
            for path in [CUSTOMERS, "/api/create-customer/"] {
                let request = builder("POST", path, &[LOCAL, ("content-type", content_type)]);
                let refused = api.send(request.body(body.clone())).await;
                refused.problem(415, "unsupported_media_type");
            }
        }
        assert!(api.customers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn configured_host_is_a_host_and_an_origin() {
    each_database(async |database| {
        let api = Api::on_loopback(database, "a-key", &["app.example.com"]);
        let key = ("authorization", "Bearer a-key");
        let body = json!({"email": "ada@example.com"});
        let proxied = [
            key,
            ("host", "app.example.com"),
            ("origin", "https://app.example.com"),
        ];
        api.call_with("POST", CUSTOMERS, body.clone(), &proxied)
            .await
            .expect(201);
        let rewritten = [key, LOCAL, ("origin", "https://app.example.com")];
        api.call_with("POST", CUSTOMERS, body.clone(), &rewritten)
            .await
            .problem(409, "email_taken");
        let other = [key, ("host", "evil.example")];
        api.call_with("POST", CUSTOMERS, body, &other)
            .await
            .problem(403, "host_not_allowed");
    })
    .await;
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    each_database(async |database| {
        let api = Api::on_loopback(database, "", &[]);
        let docs = api.get_with("/docs", &[LOCAL]).await;
        let policy = docs.header("content-security-policy");
        let scripts = policy
            .split("; ")
            .find(|part| part.starts_with("script-src "))
            .unwrap();
        // The bundle, and what starts it.
        assert_eq!(scripts.matches("'sha256-").count(), 2, "{scripts}");
        assert!(!scripts.contains("unsafe"), "{scripts}");
        let other = [("host", "evil.example")];
        for (path, headers) in [
            (CUSTOMERS, [LOCAL]),
            ("/docs", [LOCAL]),
            ("/nothing", [LOCAL]),
            (CUSTOMERS, other),
        ] {
            let reply = api.get_with(path, &headers).await;
            assert!(
                reply
                    .header("content-security-policy")
                    .contains("frame-ancestors 'none'")
            );
            assert_eq!(reply.header("x-content-type-options"), "nosniff");
            assert_eq!(reply.header("x-frame-options"), "DENY");
            assert_eq!(reply.header("referrer-policy"), "same-origin");
            assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin");
            // The page with the docs holds no data of anybody.
            let expected = match path {
                "/docs" => "no-cache",
                _ => "no-store",
            };
            assert_eq!(reply.header("cache-control"), expected);
        }
    })
    .await;
}
