//! The spec: committed, complete, and shown by a page that needs no network.

use platform::test_support::each_database;
use serde_json::Value;

use crate::client::{Api, builder};

fn spec() -> Value {
    serde_json::from_str(&api::spec()).unwrap()
}

#[test]
fn the_committed_spec_is_the_served_one() {
    let committed: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    assert!(
        committed == spec(),
        "api/openapi.json is out of date: cargo run -p api -- openapi > api/openapi.json"
    );
}

#[test]
fn every_operation_is_described_tagged_locked_and_lists_its_answers() {
    let spec = spec();
    let mut operations = 0;
    for (path, methods) in spec["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            for text in ["summary", "description", "operationId"] {
                assert!(operation[text].is_string(), "{name} has no {text}");
            }
            assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}");
            assert!(operation["security"][0]["apiKey"].is_array(), "{name}");
            let answers = operation["responses"].as_object().unwrap();
            for status in ["401", "500", "503"] {
                assert!(answers.contains_key(status), "{name} lists no {status}");
            }
            for (status, answer) in answers {
                assert!(
                    !answer["description"].as_str().unwrap().is_empty(),
                    "{name} {status}"
                );
                if status.starts_with(['4', '5']) {
                    let schema = &answer["content"]["application/problem+json"]["schema"];
                    assert_eq!(
                        schema["$ref"], "#/components/schemas/Problem",
                        "{name} {status}"
                    );
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(parameter["description"].is_string(), "{name} {parameter}");
            }
            if let Some(body) = operation.get("requestBody") {
                for status in ["400", "408", "413", "415", "422"] {
                    assert!(answers.contains_key(status), "{name} lists no {status}");
                }
                assert_eq!(body["required"], true, "{name}");
            }
        }
    }
    assert_eq!(operations, 29);
    let schemas = &spec["components"]["schemas"];
    for name in ["NewCustomer", "CustomerPatch", "Resolution", "Linking"] {
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    for (name, schema) in schemas.as_object().unwrap() {
        if schema["type"] == "object" {
            assert!(schema["example"].is_object(), "{name} has no example");
            assert!(
                schema["description"].is_string(),
                "{name} has no description"
            );
        }
    }
    assert_eq!(
        spec["components"]["securitySchemes"]["apiKey"]["scheme"],
        "bearer"
    );
    assert!(!api::spec().contains("\"ETAG\""));
}

#[test]
fn the_original_calls_are_shown_once_with_their_slash() {
    let spec = spec();
    let paths = spec["paths"].as_object().unwrap();
    for call in ["create", "update", "delete"] {
        let operations = &paths[&format!("/api/{call}-customer/")];
        let operation = operations.as_object().unwrap().values().next().unwrap();
        assert_eq!(operation["tags"][0], "original");
        assert!(!paths.contains_key(&format!("/api/{call}-customer")));
    }
}

#[tokio::test]
async fn the_page_holds_the_spec_and_all_its_scripts() {
    each_database(async |database| {
        let api = Api::on(database);
        let served = api.get("/openapi.json").await;
        assert_eq!(served.header("content-type"), "application/json");
        assert_eq!(served.json(), spec());
        let home = api.get("/").await;
        assert_eq!((home.status, home.header("location")), (303, "/docs"));
        let page = api.get("/docs").await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.text.contains("SwaggerUIBundle({"));
        assert!(
            page.text.contains(served.text.trim()),
            "the page shows the served spec"
        );
        for foreign in ["<script src", "href=\"http", "@import url(http"] {
            assert!(!page.text.contains(foreign), "{foreign}");
        }
    })
    .await;
}

#[tokio::test]
async fn page_is_compressed_and_sent_once() {
    each_database(async |database| {
        let api = Api::on(database);
        let accepts = [("accept-encoding", "gzip, deflate")];
        let request = builder("GET", "/docs", &accepts).finish();
        let (headers, bytes) = api.bytes(request).await;
        assert_eq!(headers["content-encoding"], "gzip");
        assert!(bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() < 1_000_000);
        let tag = headers["etag"].to_str().unwrap().to_owned();
        let again = api.get_with("/docs", &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
    })
    .await;
}

#[test]
fn generators_can_read_every_schema() {
    let spec = spec();
    let text = spec.to_string();
    assert!(!text.contains("+00:00"), "an example is not in UTC");
    let tags: Vec<_> = spec["tags"].as_array().unwrap().iter().collect();
    assert_eq!(tags[0]["name"], "customers");
    for (name, schema) in spec["components"]["schemas"].as_object().unwrap() {
        for (member, shape) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(parts) = shape["allOf"].as_array() {
                assert_eq!(parts.len(), 1, "{name}.{member}");
            }
        }
    }
    let customer = &spec["components"]["schemas"]["Customer"];
    let members = customer["properties"].as_object().unwrap();
    assert_eq!(
        customer["required"].as_array().unwrap().len(),
        members.len()
    );
    let create = &spec["paths"]["/api/v1/customers"]["post"]["responses"];
    assert_eq!(create["201"]["links"].as_object().unwrap().len(), 5);
    let taken = &create["409"]["content"]["application/problem+json"]["example"];
    assert_eq!(
        (&taken["status"], &taken["code"]),
        (&409.into(), &"email_taken".into())
    );
}
