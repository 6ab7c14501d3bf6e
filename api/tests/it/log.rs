//! What the log holds, and what it must not.

use platform::test_support::each_database;
use platform::test_support::log::capture;
use serde_json::json;
use tracing::Level;

use crate::client::{Api, CUSTOMERS, path_of};

async fn use_everything(api: &Api) {
    let body = json!({"email": "secret@example.com", "name": "Secretary", "phone": "5551234"});
    let headers = [
        ("idempotency-key", "secret-key"),
        ("authorization", "Bearer secret-token"),
        ("x-request-id", "request-1"),
    ];
    api.call_with("POST", CUSTOMERS, body.clone(), &headers)
        .await
        .expect(201);
    api.call("POST", CUSTOMERS, body)
        .await
        .problem(409, "email_taken");
    let path = format!("{CUSTOMERS}/secret@example.com");
    api.call("PATCH", &path, json!({"name": "\u{0}Secretary"}))
        .await
        .problem(422, "validation_failed");
    api.get(&format!("{CUSTOMERS}?email=secret@example.com"))
        .await
        .expect(200);
    api.get("/secret@example.com")
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn the_log_names_routes_and_request_ids_and_no_values() {
    each_database(async |database| {
        let api = Api::on(database);
        let lines = capture(Level::TRACE);
        use_everything(&api).await;
        let text = lines.text();
        assert!(text.contains("route=\"/api/v1/customers/{key}\""), "{text}");
        assert!(
            text.contains("request-1") && text.contains("status=201"),
            "{text}"
        );
        for value in ["secret", "Secretary", "5551234"] {
            assert!(!text.contains(value), "{value} is in {text}");
        }
    })
    .await;
}

#[tokio::test]
async fn at_info_a_request_that_succeeds_or_is_refused_leaves_no_line() {
    each_database(async |database| {
        let api = Api::on(database);
        let lines = capture(Level::INFO);
        use_everything(&api).await;
        assert_eq!(lines.text(), "");
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_logged_once_with_its_request_id_and_its_cause() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("secret@example.com").await;
        // A rule that the service does not know.
        use sea_orm::ConnectionTrait;
        let rule = match api.db.get_database_backend() {
            sea_orm::DbBackend::Sqlite => {
                "create trigger closed before insert on outbox \
                 begin select raise(abort, 'the outbox is closed'); end"
            }
            _ => "alter table outbox add constraint closed check (rev < 2)",
        };
        api.db.execute_unprepared(rule).await.unwrap();
        let lines = capture(Level::INFO);
        let headers = [("x-request-id", "request-1")];
        let reply = api
            .call_with(
                "PATCH",
                &path_of(&customer),
                json!({"name": "Secretary"}),
                &headers,
            )
            .await;
        reply.problem(500, "internal");
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("ERROR") && text.contains("request-1") && text.contains("outbox"),
            "{text}"
        );
        assert!(!text.contains("ecret"), "{text}");
    })
    .await;
}
