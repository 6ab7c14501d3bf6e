//! What the document says of requests and responses holds for those of the API.

use platform::test_support::each_database;
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::client::{Api, CUSTOMERS, path_of};

fn spec() -> Value {
    serde_json::from_str(&api::spec()).unwrap()
}

/// Texts that a pattern allows, of a length that the schema allows.
fn texts(schema: &Value) -> Vec<String> {
    let pattern = schema["pattern"].as_str().unwrap();
    let bare = pattern
        .strip_prefix('^')
        .and_then(|it| it.strip_suffix('$'));
    let strategy = string_regex(bare.unwrap()).unwrap();
    let longest = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let mut runner = TestRunner::deterministic();
    // Many are too long where the schema allows few characters.
    let texts = (0..2_000).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let texts: Vec<_> = texts
        .filter(|text| text.chars().count() as u64 <= longest)
        .take(100)
        .collect();
    assert!(texts.len() > 10, "{pattern}");
    texts
}

fn parameter(path: &str, method: &str, name: &str) -> Value {
    let spec = spec();
    let parameters = spec["paths"][path][method]["parameters"].as_array();
    let found = parameters.unwrap().iter().find(|it| it["name"] == name);
    found.unwrap()["schema"].clone()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn unknown_query_parameter_is_a_listed_response() {
    each_database(async |database| {
        let api = Api::on(database);
        for (path, operations) in spec()["paths"].as_object().unwrap() {
            if !path.starts_with("/api/v1/") {
                continue;
            }
            let called = path.replace("{key}", "x").replace("{id}", "x");
            for (method, operation) in operations.as_object().unwrap() {
                let url = format!("{called}?unknown=1");
                let refused = api.call(&method.to_uppercase(), &url, json!({})).await;
                assert_eq!(refused.fault(422, "validation_failed"), "unknown");
                let listed = operation["responses"].as_object().unwrap();
                assert!(listed.contains_key("422"), "{method} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn texts_of_documented_patterns_are_accepted() {
    each_database(async |database| {
        let api = Api::on(database);
        let created = api.created("bob@example.com").await;
        let bob = path_of(&created);
        let spec = spec();
        let schemas = &spec["components"]["schemas"];
        for (schema, method, path) in [
            ("CustomerPatch", "PATCH", bob.as_str()),
            ("NamedCustomer", "PUT", "/api/update-customer/"),
        ] {
            for field in ["name", "phone", "description"] {
                let Some(rule) = schemas[schema]["properties"].get(field) else {
                    continue;
                };
                for text in texts(rule) {
                    let mut body = json!({"email": "bob@example.com"});
                    body[field] = text.clone().into();
                    let reply = api.call(method, path, body).await;
                    assert_eq!(reply.status, 200, "{field} {text:?} {}", reply.text);
                }
            }
        }
        for text in texts(&parameter(
            "/api/v1/customers/{key}",
            "get",
            "If-None-Match",
        )) {
            let reply = api.get_with(&bob, &[("if-none-match", &text)]).await;
            assert!(matches!(reply.status, 200 | 304), "{text}: {}", reply.text);
        }
        for text in texts(&parameter("/api/v1/customers/{key}", "patch", "If-Match")) {
            let headers = [("if-match", &*text)];
            let reply = api.call_with("PATCH", &bob, json!({}), &headers).await;
            assert!(matches!(reply.status, 200 | 412), "{text}: {}", reply.text);
        }
        for text in texts(&parameter("/api/v1/customers", "post", "Idempotency-Key")) {
            let headers = [("idempotency-key", &*text)];
            let body = json!({"email": "bob@example.com"});
            let reply = api.call_with("POST", CUSTOMERS, body, &headers).await;
            assert_eq!(reply.status, 409, "{text}: {}", reply.text);
        }
        // There are changes, so it waits for none.
        for text in texts(&parameter("/api/v1/changes", "get", "wait")) {
            let reply = api.get(&format!("/api/v1/changes?wait={text}")).await;
            assert_eq!(reply.status, 200, "{text}: {}", reply.text);
        }
        for text in texts(&parameter("/api/v1/parked", "get", "reason")) {
            let path = format!("/api/v1/parked?reason={}", encoded(&text));
            let reply = api.get(&path).await;
            assert_eq!(reply.status, 200, "{text}: {}", reply.text);
        }
    })
    .await;
}

#[tokio::test]
async fn accepted_email_is_within_its_documented_pattern() {
    each_database(async |database| {
        let api = Api::on(database);
        let spec = spec();
        for (name, schema) in spec["components"]["schemas"].as_object().unwrap() {
            let is_body = [
                "NewCustomer",
                "CustomerPatch",
                "NamedCustomer",
                "DeletedCustomer",
            ]
            .contains(&name.as_str());
            let pattern = schema["properties"]["email"].get("pattern");
            assert_eq!(pattern.is_some(), is_body, "{name}");
        }
        // Any domain, dots wherever they are, and blanks around it.
        let pattern = &spec["components"]["schemas"]["NewCustomer"]["properties"]["email"];
        let local = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+";
        assert_eq!(pattern["pattern"], format!(r"^\s*{local}@[^\s@]+\s*$"));
        for email in [
            " taro..yamada@example.com\n",
            "taro.@example.com",
            "bob@münchen.de",
        ] {
            api.created(email).await;
            let url = format!("{CUSTOMERS}?email={}", encoded(email));
            let page = api.get(&url).await.expect(200);
            assert_eq!(page["data"][0]["email"], email.trim());
        }
    })
    .await;
}

#[test]
fn null_is_a_value_of_each_nullable_schema() {
    fn check(node: &Value) {
        if node["nullable"] == true {
            assert!(node["type"].is_string(), "{node}");
            assert!(
                node["allOf"].is_null() || node["type"] == "object",
                "{node}"
            );
            if let Some(values) = node["enum"].as_array() {
                assert!(values.contains(&Value::Null), "{node}");
            }
        }
        match node {
            Value::Object(members) => members.values().for_each(check),
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    check(&spec());
}

#[test]
fn parameters_that_name_something_have_patterns() {
    for (path, operations) in spec()["paths"].as_object().unwrap() {
        for operation in operations.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let schema = &parameter["schema"];
                let has_rule = !schema["pattern"].is_null() || !schema["format"].is_null();
                let is_text = schema["type"] == "string";
                assert!(has_rule || !is_text, "{path} {name}");
            }
        }
    }
}
