//! Many customers in one request.

use platform::test_support::each_database;
use serde_json::{Value, json};

use crate::client::{Api, CUSTOMERS};

const BATCH: &str = "/api/v1/customers:batch";

fn results(answer: &Value) -> Vec<(u64, String)> {
    let results = answer["results"].as_array().unwrap().iter();
    results
        .map(|result| {
            let problem = result["problem"]["code"].as_str();
            let customer = result["customer"]["email"].as_str();
            assert_eq!(problem.is_some(), customer.is_none());
            let text = problem.or(customer).unwrap();
            (result["status"].as_u64().unwrap(), text.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn every_customer_of_a_batch_has_a_result_of_its_own() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("taken@example.com").await;
        let body = json!({"customers": [
            {"email": "a@example.com", "name": "A"},
            {"email": "Taken@example.com"},
            {"email": "b"},
            "c@example.com",
            {"email": "d@example.com", "nickname": "D"},
            {"email": "A@example.com"},
            {"email": "e@example.com", "external_id": "5"},
        ]});
        let reply = api.call("POST", BATCH, body).await;
        let answer = reply.expect(200);
        let expected = [
            (201, "a@example.com"),
            (409, "email_taken"),
            (422, "validation_failed"),
            (422, "validation_failed"),
            (422, "validation_failed"),
            (409, "email_taken"),
            (201, "e@example.com"),
        ];
        assert_eq!(
            results(&answer),
            expected.map(|(status, text)| (status, text.to_owned()))
        );
        let problem = &answer["results"][1]["problem"];
        assert_eq!(problem["request_id"], reply.header("x-request-id"));
        assert_eq!(problem["field"], "email");
        let customer = &answer["results"][0]["customer"];
        let path = format!("{CUSTOMERS}/{}", customer["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await.expect(200), *customer);
        assert_eq!(api.customers().await.len(), 3);
        assert_eq!(api.outbox().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn repeated_batch_creates_what_was_missing_and_nothing_twice() {
    each_database(async |database| {
        let api = Api::on(database);
        let headers = [("idempotency-key", "import-1")];
        let body = |emails: &[&str]| {
            let customers = emails.iter().map(|email| json!({"email": email}));
            json!({"customers": customers.collect::<Vec<_>>()})
        };
        let first = body(&["a@example.com", "b@example.com"]);
        let first = api.call_with("POST", BATCH, first, &headers).await;
        let longer = body(&["a@example.com", "b@example.com", "c@example.com"]);
        let again = api.call_with("POST", BATCH, longer, &headers).await;
        let (first, again) = (first.expect(200), again.expect(200));
        for place in 0..2 {
            assert_eq!(first["results"][place], again["results"][place]);
        }
        assert_eq!(again["results"][2]["status"], 201);
        let other = body(&["x@example.com"]);
        let other = api.call_with("POST", BATCH, other, &headers).await;
        assert_eq!(
            results(&other.expect(200)),
            [(422, "idempotency_key_reused".to_owned())]
        );
        assert_eq!(api.customers().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn batch_is_a_list_of_1_to_100_customers() {
    each_database(async |database| {
        let api = Api::on(database);
        let many = |count: usize| {
            let customer = |place| json!({"email": format!("p{place}@example.com"), "description": "é".repeat(350)});
            json!({"customers": (0..count).map(customer).collect::<Vec<_>>()})
        };
        for body in [json!({}), json!({"customers": {}}), many(0), many(101)] {
            let refused = api.call("POST", BATCH, body).await;
            assert_eq!(refused.fault(422, "validation_failed"), "customers");
        }
        let unknown = json!({"customers": [{"email": "a@example.com"}], "x": 1});
        api.call("POST", BATCH, unknown).await.fault(422, "validation_failed");
        let headers = [("idempotency-key", "a b")];
        let refused = api.call_with("POST", BATCH, many(1), &headers).await;
        refused.fault(400, "malformed_request");
        assert_eq!(api.customers().await.len(), 0);
        let answer = api.call("POST", BATCH, many(100)).await.expect(200);
        assert!(results(&answer).iter().all(|(status, _)| *status == 201));
        let huge = json!({"customers": ["x".repeat(600_000)]});
        api.call("POST", BATCH, huge).await.problem(413, "payload_too_large");
        api.get(BATCH).await.problem(405, "method_not_allowed");
    })
    .await;
}
