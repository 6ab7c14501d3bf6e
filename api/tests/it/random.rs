//! Whatever comes in, the answer is never a fault of ours.

use platform::test_support::{postgres, sqlite};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{Api, CUSTOMERS, Reply, builder};

const CALLS: [(&str, &str); 5] = [
    ("POST", CUSTOMERS),
    ("PATCH", "/api/v1/customers/bob@example.com"),
    ("POST", "/api/create-customer"),
    ("PUT", "/api/update-customer/"),
    ("DELETE", "/api/delete-customer"),
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[a-z]{1,6}@[a-z]{1,4}\\.[a-z]{2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("email".to_owned()),
        Just("name".to_owned()),
        Just("phone".to_owned()),
        Just("description".to_owned()),
        ".{0,8}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let object = prop::collection::vec((any_name(), any_json()), 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect()));
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        object.prop_map(|value| value.to_string().into_bytes()),
    ]
}

fn check(reply: &Reply) {
    assert!(reply.status < 500, "{} {}", reply.status, reply.text);
    if reply.status >= 400 {
        reply.problem(reply.status, reply.json()["code"].as_str().unwrap());
    }
}

fn on_both(test: impl Fn(&Runtime, &Api)) {
    let runtime = Runtime::new().unwrap();
    for database in [runtime.block_on(sqlite()), runtime.block_on(postgres())] {
        let api = Api::on(database);
        runtime.block_on(api.created("bob@example.com"));
        test(&runtime, &api);
    }
}

fn runner() -> TestRunner {
    // Without a file of past failures, which the test would otherwise want to write beside itself.
    TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(200)
    })
}

#[test]
fn no_body_is_a_fault_of_ours() {
    on_both(|runtime, api| {
        let cases = (0..CALLS.len(), body());
        runner()
            .run(&cases, |(call, body)| {
                let (method, path) = CALLS[call];
                let request = builder(method, path, &[]).content_type("application/json");
                check(&runtime.block_on(api.send(request.body(body))));
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn no_path_query_or_header_is_a_fault_of_ours() {
    on_both(|runtime, api| {
        let text = || prop_oneof!["[ -~]{0,30}", "[!-~]{0,10}", "[0-9\", W/*]{0,8}"];
        let cases = (".{0,20}", ".{0,20}", text(), text());
        runner()
            .run(&cases, |(key, value, condition, once)| {
                let encode = |text: &str| -> String {
                    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
                };
                let key = encode(&key);
                let path = format!("{CUSTOMERS}/{key}");
                let headers = [("if-match", &*condition), ("if-none-match", &*condition)];
                check(&runtime.block_on(api.get_with(&path, &headers)));
                check(&runtime.block_on(api.delete(&path, &headers)));
                let value = encode(&value);
                for name in [
                    "limit",
                    "cursor",
                    "email",
                    "created_after",
                    "created_before",
                    "deleted",
                ] {
                    check(&runtime.block_on(api.get(&format!("{CUSTOMERS}?{name}={value}"))));
                }
                let headers = [("idempotency-key", &*once), ("traceparent", &*condition)];
                let body = json!({"email": "bob@example.com"});
                check(&runtime.block_on(api.call_with("POST", CUSTOMERS, body, &headers)));
                Ok(())
            })
            .unwrap();
    });
}
