//! One customer of the resource API: create, read, change, delete, and the conditions.

use chrono::{DateTime, TimeDelta, Utc};
use entity::customer::{Column, Entity};
use platform::test_support::each_database;
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
use serde_json::{Value, json};

use crate::client::{Api, CUSTOMERS, builder, path_of};

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_customer_is_created_with_all_its_fields_and_read_by_id_and_email() {
    each_database(async |database| {
        let api = Api::on(database);
        let body = json!({
            "email": " Bob+x@Example.com ", "name": " Bob ", "phone": "", "description": "two\nlines"
        });
        let reply = api.call("POST", CUSTOMERS, body).await;
        let customer = reply.expect(201);
        let expected = json!({
            "id": customer["id"], "email": "Bob+x@Example.com", "name": "Bob", "phone": null,
            "description": "two\nlines", "rev": 1, "deleted": false, "deleted_at": null, "external_id": null, "stripe_id": null, "sync_status": "pending",
            "created_at": customer["created_at"], "updated_at": customer["created_at"],
        });
        assert_eq!(customer, expected);
        assert_eq!(reply.header("location"), path_of(&customer));
        assert!(!reply.headers.contains_key("idempotent-replayed"));
        let keys = [
            customer["id"].as_str().unwrap(),
            "bob+x@example.com",
            "BOB%2Bx%40example.com",
        ];
        for key in keys {
            let read = api.get(&format!("{CUSTOMERS}/{key}")).await;
            assert_eq!(read.header("etag"), "\"1\"");
            assert_eq!(read.expect(200), customer);
        }
        let head = builder("HEAD", &path_of(&customer), &[]).finish();
        let head = api.send(head).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    })
    .await;
}

#[tokio::test]
async fn forms_of_a_domain_name_one_customer() {
    each_database(async |database| {
        let api = Api::on(database);
        let body = json!({"email": "José@españa.example"});
        api.call("POST", CUSTOMERS, body)
            .await
            .fault(422, "validation_failed");
        let body = json!({"email": "Jose@españa.example"});
        let customer = api.call("POST", CUSTOMERS, body).await.expect(201);
        assert_eq!(customer["email"], "Jose@españa.example");
        for email in [
            "jose@xn--espaa-rta.example",
            "JOSE@XN--espaa-rta.example",
            "jose@ESPAÑA.example",
        ] {
            let body = json!({"email": email});
            let again = api.call("POST", CUSTOMERS, body).await;
            again.problem(409, "email_taken");
            let key = percent_encoded(email);
            let read = api.get(&format!("{CUSTOMERS}/{key}")).await;
            assert_eq!(read.expect(200), customer, "{email}");
            let listed = api.get(&format!("{CUSTOMERS}?email={key}")).await;
            assert_eq!(listed.expect(200)["data"], json!([customer]), "{email}");
        }
        // The form that is kept can be changed.
        let body = json!({"email": "jose@xn--espaa-rta.example"});
        let changed = api.call("PATCH", &path_of(&customer), body).await;
        assert_eq!(changed.expect(200)["email"], "jose@xn--espaa-rta.example");
    })
    .await;
}

#[tokio::test]
async fn emails_that_the_policy_names_are_rejected_with_the_reason() {
    each_database(async |database| {
        let api = Api::rejecting(database, "dots,unicode-domains");
        let customer = api.created("bob@xn--mnchen-3ya.de").await;
        for (email, reason) in [
            ("taro..yamada@docomo.example", "two in a row"),
            ("taro.@ezweb.example", "a dot at either end"),
            ("bob@münchen.de", "xn-- form"),
        ] {
            let body = json!({"email": email, "name": "Taro"});
            let path = path_of(&customer);
            for (method, path) in [
                ("POST", CUSTOMERS),
                ("POST", "/api/create-customer"),
                ("PATCH", &path),
            ] {
                let refused = api.call(method, path, body.clone()).await;
                assert!(refused.text.contains(reason), "{}", refused.text);
                assert_eq!(refused.fault(422, "validation_failed"), "email");
            }
            // It is a way to name a customer all the same.
            let key = percent_encoded(email);
            let status = if email.contains('ü') { 200 } else { 404 };
            let read = api.get(&format!("{CUSTOMERS}/{key}")).await;
            assert_eq!(read.status, status, "{email}");
        }
    })
    .await;
}

/// Stripe's values need not fit, and what is not changed is not checked.
#[tokio::test]
async fn values_that_a_patch_repeats_are_not_checked() {
    each_database(async |database| {
        let api = Api::rejecting(database, "dots");
        let customer = api.created("bob@example.com").await;
        let phone = "1".repeat(30);
        let stored = Entity::update_many()
            .col_expr(Column::Phone, Expr::value(&phone))
            .col_expr(Column::Email, Expr::value("b..ob@example.com"))
            .col_expr(Column::EmailKey, Expr::value("b..ob@example.com"));
        stored.exec(&api.db).await.unwrap();
        let same = json!({"email": "b..ob@example.com", "phone": phone, "name": "Bob"});
        let patched = api.call("PATCH", &path_of(&customer), same).await;
        assert_eq!(patched.expect(200)["name"], "Bob");
        for (field, value) in [("phone", "2".repeat(30)), ("email", "a..b@x.io".to_owned())] {
            let other = json!({field: value});
            let refused = api.call("PATCH", &path_of(&customer), other).await;
            assert_eq!(refused.fault(422, "validation_failed"), field);
        }
    })
    .await;
}

#[tokio::test]
async fn what_names_nobody_is_not_found() {
    each_database(async |database| {
        let api = Api::on(database);
        let id = uuid::Uuid::nil().to_string();
        for key in [
            &id,
            "nobody@example.com",
            "nobody",
            "%00",
            "%ff",
            "a%2Fb",
            "'",
        ] {
            let path = format!("{CUSTOMERS}/{key}");
            api.get(&path).await.problem(404, "not_found");
            api.call("PATCH", &path, json!({}))
                .await
                .problem(404, "not_found");
            api.delete(&path, &[]).await.problem(404, "not_found");
            api.get(&format!("{path}/sync"))
                .await
                .problem(404, "not_found");
        }
    })
    .await;
}

#[tokio::test]
async fn values_that_can_not_be_stored_are_refused_by_name() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let long = "x".repeat(400);
        let faults = [
            ("email", json!("bob")),
            ("email", json!("a\u{0}@example.com")),
            ("email", json!(format!("{}@example.com", "x".repeat(512)))),
            ("email", json!("bob@mün_chen.de")),
            ("email", json!("jörg@example.com")),
            ("email", json!(7)),
            ("name", json!("a\u{0}b")),
            ("name", json!("a\u{7}b")),
            ("name", json!(long)),
            ("name", json!({"first": "x"})),
            ("phone", json!("1".repeat(21))),
            ("phone", json!(41)),
            ("description", json!(long)),
            ("description", json!(true)),
            ("nickname", json!("Bobby")),
        ];
        for (field, value) in faults {
            let mut body = json!({"email": "al@example.com"});
            body[field] = value.clone();
            let refused = api.call("POST", CUSTOMERS, body).await;
            assert_eq!(refused.fault(422, "validation_failed"), field);
            let body = json!({field: value});
            let refused = api.call("PATCH", &path_of(&customer), body).await;
            assert_eq!(refused.fault(422, "validation_failed"), field);
        }
        for body in [json!({}), json!({"email": null}), json!({"email": " "})] {
            let refused = api.call("POST", CUSTOMERS, body).await;
            assert_eq!(refused.fault(422, "validation_failed"), "email");
        }
        assert_eq!(api.customers().await.len(), 1);
        assert_eq!(api.outbox().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_merge_patch_keeps_what_is_absent_and_clears_what_is_null_or_empty() {
    each_database(async |database| {
        let api = Api::on(database);
        let body =
            json!({"email": "bob@example.com", "name": "Bob", "phone": "1", "description": "x"});
        let customer = api.call("POST", CUSTOMERS, body).await.expect(201);
        let path = path_of(&customer);
        api.later(std::time::Duration::from_secs(1)).await;
        let patch = json!({"name": "Robert", "phone": null, "description": ""});
        let request = builder("PATCH", &path, &[])
            .content_type("application/merge-patch+json")
            .body(patch.to_string());
        let reply = api.send(request).await;
        assert_eq!(reply.header("etag"), "\"2\"");
        let patched = reply.expect(200);
        let time = |customer: &Value, name| {
            let text = customer[name].as_str().unwrap();
            text.parse::<DateTime<Utc>>().unwrap()
        };
        let passed = time(&patched, "updated_at") - time(&patched, "created_at");
        assert!(passed >= TimeDelta::seconds(1), "{patched}");
        let expected = json!({
            "id": customer["id"], "email": "bob@example.com", "name": "Robert", "phone": null,
            "description": null, "rev": 2, "deleted": false, "deleted_at": null, "external_id": null, "stripe_id": null, "sync_status": "pending",
            "created_at": patched["created_at"], "updated_at": patched["updated_at"],
        });
        assert_eq!(patched, expected);
        for nothing in [json!({}), json!({"name": " Robert "}), json!({"phone": ""})] {
            let same = api.call("PATCH", &path, nothing).await.expect(200);
            assert_eq!(same, patched, "what changes nothing raises no revision");
        }
        assert_eq!(api.outbox().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_email_can_be_changed_and_not_cleared_and_not_taken() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("al@example.com").await;
        let path = path_of(&api.created("bob@example.com").await);
        for clear in [json!(null), json!(""), json!("  ")] {
            let refused = api.call("PATCH", &path, json!({"email": clear})).await;
            assert_eq!(refused.fault(422, "validation_failed"), "email");
        }
        let refused = api
            .call("PATCH", &path, json!({"email": "AL@example.com"}))
            .await;
        assert_eq!(refused.fault(409, "email_taken"), "email");
        let by_email = format!("{CUSTOMERS}/bob@example.com");
        let moved = json!({"email": "Robert@example.com"});
        let moved = api.call("PATCH", &by_email, moved).await.expect(200);
        assert_eq!(moved["email"], "Robert@example.com");
        assert_eq!(moved["rev"], 2);
        api.get(&by_email).await.problem(404, "not_found");
        api.created("bob@example.com").await;
        let cased = json!({"email": "robert@EXAMPLE.com"});
        let cased = api.call("PATCH", &path, cased).await.expect(200);
        assert_eq!(cased["email"], "robert@EXAMPLE.com");
        assert_eq!(cased["rev"], 3);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_customer_is_gone_and_its_email_is_free() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let path = path_of(&customer);
        let reply = api
            .delete(&format!("{CUSTOMERS}/BOB@example.com"), &[])
            .await;
        assert_eq!(reply.header("etag"), "\"2\"");
        let gone = reply.expect(200);
        assert_eq!(gone["id"], customer["id"]);
        assert_eq!(gone["deleted"], true);
        assert_eq!(gone["deleted_at"], gone["updated_at"]);
        api.get(&path).await.problem(404, "not_found");
        api.delete(&path, &[]).await.problem(404, "not_found");
        api.call("PATCH", &path, json!({}))
            .await
            .problem(404, "not_found");
        let second = api.created("bob@example.com").await;
        assert_ne!(second["id"], customer["id"]);
    })
    .await;
}

#[tokio::test]
async fn if_match_lets_only_the_state_that_was_read_be_changed() {
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("bob@example.com").await);
        let rename = |name: &str| json!({"name": name});
        for (stale, name) in [
            ("\"7\"", "A"),
            ("W/\"1\"", "B"),
            ("\"7\", \"8\"", "C"),
            ("\"\"", "D"),
        ] {
            let headers = [("if-match", stale)];
            let refused = api.call_with("PATCH", &path, rename(name), &headers).await;
            assert_eq!(refused.fault(412, "precondition_failed"), "If-Match");
            let refused = api.delete(&path, &headers).await;
            assert_eq!(refused.fault(412, "precondition_failed"), "If-Match");
        }
        for bad in ["1", "\"1", "\"1\" \"2\"", "", ","] {
            let headers = [("if-match", bad)];
            let refused = api.call_with("PATCH", &path, rename("E"), &headers).await;
            assert_eq!(refused.fault(400, "malformed_request"), "If-Match");
            let refused = api.delete(&path, &headers).await;
            assert_eq!(refused.fault(400, "malformed_request"), "If-Match");
        }
        for (good, rev) in [("\"1\"", 2), ("\"1\", \"2\"", 3), ("*", 4)] {
            let headers = [("if-match", good)];
            let patched = api.call_with("PATCH", &path, rename(good), &headers);
            assert_eq!(patched.await.expect(200)["rev"], rev);
        }
        let two_lines = [("if-match", "\"9\""), ("if-match", "\"4\"")];
        let patched = api.call_with("PATCH", &path, rename("F"), &two_lines).await;
        assert_eq!(patched.expect(200)["rev"], 5);
        let deleted = api.delete(&path, &[("if-match", "\"5\"")]).await;
        assert_eq!(deleted.expect(200)["rev"], 6);
    })
    .await;
}

#[tokio::test]
async fn if_none_match_saves_the_body_of_what_is_known() {
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("bob@example.com").await);
        for known in ["\"1\"", "W/\"1\"", "\"0\", \"1\"", "*"] {
            let reply = api.get_with(&path, &[("if-none-match", known)]).await;
            assert_eq!((reply.status, reply.text.as_str()), (304, ""), "{known}");
            assert_eq!(reply.header("etag"), "\"1\"");
        }
        let reply = api.get_with(&path, &[("if-none-match", "\"2\"")]).await;
        assert_eq!(reply.expect(200)["rev"], 1);
        let refused = api.get_with(&path, &[("if-none-match", "2")]).await;
        assert_eq!(refused.fault(400, "malformed_request"), "If-None-Match");
    })
    .await;
}

#[tokio::test]
async fn values_from_stripe_that_break_our_bounds_do_not_stand_in_the_way() {
    use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("bob@example.com").await);
        let mut row = api.customers().await.remove(0).into_active_model();
        row.name = Set(Some("x".repeat(300)));
        row.update(&api.db).await.unwrap();
        let patched: Value = api
            .call("PATCH", &path, json!({"phone": "1"}))
            .await
            .expect(200);
        assert_eq!(patched["name"].as_str().unwrap().len(), 300);
    })
    .await;
}
