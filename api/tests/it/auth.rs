//! API keys.

use platform::test_support::each_database;
use serde_json::json;

use crate::client::{Api, CUSTOMERS, builder};

#[tokio::test]
async fn with_keys_everything_below_api_needs_one_and_nothing_else_does() {
    each_database(async |database| {
        let api = Api::with_keys(database, "first-key,second-key");
        let paths = [
            "/api",
            "/api/",
            "/api/nothing",
            CUSTOMERS,
            "/api/v1/customers/bob@example.com",
            "/api/v1/customers/bob@example.com/sync",
            "/api/create-customer/",
            "/api/delete-customer",
        ];
        for path in paths {
            for method in ["GET", "POST", "PUT", "DELETE", "BREW"] {
                for header in ["", "Bearer wrong", "Basic first-key"] {
                    let request = builder(method, path, &[("authorization", header)]);
                    let refused = api.send(request.finish()).await;
                    refused.problem(401, "unauthorized");
                    assert_eq!(refused.header("www-authenticate"), "Bearer");
                }
            }
        }
        for path in ["/health/live", "/health/ready", "/docs", "/openapi.json"] {
            assert_eq!(api.get(path).await.status, 200, "{path}");
        }
        for key in ["first-key", "second-key"] {
            let headers = [("authorization", &*format!("Bearer {key}"))];
            let body = json!({"email": format!("{key}@example.com")});
            api.call_with("POST", CUSTOMERS, body, &headers)
                .await
                .expect(201);
            api.get_with("/api/nothing", &headers)
                .await
                .problem(404, "not_found");
        }
    })
    .await;
}

#[tokio::test]
async fn no_spelling_of_a_path_goes_around_the_keys() {
    each_database(async |database| {
        let api = Api::with_keys(database, "first-key");
        for path in [
            "//api/v1/customers",
            "/%61pi/v1/customers",
            "/API/v1/customers",
            "/./api/v1/customers",
            "/docs/../api/v1/customers",
        ] {
            let status = api.get(path).await.status;
            assert!([401, 404].contains(&status), "{path} answers {status}");
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_and_details_of_health_need_a_key_if_there_is_one() {
    each_database(async |database| {
        let api = Api::with_keys(database, "first-key");
        api.get("/metrics").await.problem(401, "unauthorized");
        for headers in [&[][..], &[("authorization", "Bearer wrong")]] {
            let ready = api.get_with("/health/ready", headers).await;
            assert_eq!(ready.expect(200), json!({"status": "ready"}));
        }
        let key = [("authorization", "Bearer first-key")];
        assert_eq!(api.get_with("/metrics", &key).await.status, 200);
        let ready = api.get_with("/health/ready", &key).await.expect(200);
        assert!(ready["components"].is_array(), "{ready}");
    })
    .await;
}
