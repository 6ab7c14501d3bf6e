//! The three original calls.

use platform::test_support::each_database;
use serde_json::{Value, json};

use crate::client::{Api, path_of};

const CREATE: &str = "/api/create-customer";
const UPDATE: &str = "/api/update-customer";
const DELETE: &str = "/api/delete-customer";

fn bob() -> Value {
    json!({"name": "Bob", "email": "bob@example.com"})
}

#[tokio::test]
async fn they_create_rename_and_delete_by_email_with_and_without_the_last_slash() {
    each_database(async |database| {
        let api = Api::on(database);
        for slash in ["/", ""] {
            let created = api.call("POST", &format!("{CREATE}{slash}"), bob()).await;
            let customer = created.expect(201);
            assert_eq!(customer["name"], "Bob");
            assert_eq!(customer["email"], "bob@example.com");
            assert_eq!(customer["rev"], 1);
            assert_eq!(customer["deleted"], false);
            assert_eq!(created.header("etag"), "\"1\"");
            assert_eq!(created.header("location"), path_of(&customer));
            assert_eq!(created.header("content-type"), "application/json");

            let body = json!({"name": " Robert ", "email": "BOB@example.com "});
            let updated = api.call("PUT", &format!("{UPDATE}{slash}"), body).await;
            assert_eq!(updated.header("etag"), "\"2\"");
            let updated = updated.expect(200);
            assert_eq!(updated["name"], "Robert");
            assert_eq!(updated["email"], "bob@example.com");
            assert_eq!(updated["id"], customer["id"]);

            let body = json!({"email": "Bob@Example.com"});
            let deleted = api.call("DELETE", &format!("{DELETE}{slash}"), body).await;
            assert_eq!(deleted.header("etag"), "\"3\"");
            let deleted = deleted.expect(200);
            assert_eq!(deleted["deleted"], true);
            assert_eq!(deleted["rev"], 3);
            assert_eq!(deleted["id"], customer["id"]);
        }
    })
    .await;
}

#[tokio::test]
async fn an_update_keeps_what_these_calls_do_not_know() {
    each_database(async |database| {
        let api = Api::on(database);
        let body = json!({"email": "bob@example.com", "phone": "1", "description": "x"});
        api.call("POST", crate::client::CUSTOMERS, body)
            .await
            .expect(201);
        let updated = api.call("PUT", UPDATE, bob()).await.expect(200);
        assert_eq!(updated["phone"], "1");
        assert_eq!(updated["description"], "x");
        let again = api.call("PUT", UPDATE, bob()).await.expect(200);
        assert_eq!(again["rev"], 2, "nothing changed, so no revision");
    })
    .await;
}

#[tokio::test]
async fn an_email_that_exists_is_409_and_an_unknown_one_404() {
    each_database(async |database| {
        let api = Api::on(database);
        api.call("PUT", UPDATE, bob())
            .await
            .problem(404, "not_found");
        api.call("DELETE", DELETE, bob())
            .await
            .problem(404, "not_found");
        api.call("POST", CREATE, bob()).await.expect(201);
        let twin = json!({"name": "Bobby", "email": "BOB@EXAMPLE.COM"});
        let refused = api.call("POST", CREATE, twin).await;
        assert_eq!(refused.fault(409, "email_taken"), "email");
        api.call("DELETE", DELETE, bob()).await.expect(200);
        api.call("DELETE", DELETE, bob())
            .await
            .problem(404, "not_found");
        api.call("POST", CREATE, bob()).await.expect(201);
    })
    .await;
}

#[tokio::test]
async fn a_name_is_required_but_for_a_delete_and_other_members_are_ignored() {
    each_database(async |database| {
        let api = Api::on(database);
        let email = "bob@example.com";
        for (method, path) in [("POST", CREATE), ("PUT", UPDATE)] {
            for name in [json!(null), json!(""), json!("  "), json!(7), json!(["x"])] {
                let body = json!({"name": name, "email": email});
                let refused = api.call(method, path, body).await;
                assert_eq!(refused.fault(422, "validation_failed"), "name");
            }
            let refused = api.call(method, path, json!({"email": email})).await;
            assert_eq!(refused.fault(422, "validation_failed"), "name");
            let refused = api.call(method, path, json!({"name": "Bob"})).await;
            assert_eq!(refused.fault(422, "validation_failed"), "email");
        }
        let body = json!({"name": "Bob", "email": email, "age": 7});
        api.call("POST", CREATE, body).await.expect(201);
        let refused = api.call("DELETE", DELETE, json!({"email": "bob"})).await;
        assert_eq!(refused.fault(422, "validation_failed"), "email");
        let body = json!({"name": "", "email": email});
        api.call("DELETE", DELETE, body).await.expect(200);
    })
    .await;
}
