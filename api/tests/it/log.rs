//! What the log holds, and what it must not.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use platform::test_support::each_database;
use serde_json::json;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::client::{Api, CUSTOMERS, path_of};

thread_local! {
    /// What this thread has logged at its level, while it captures.
    static CAPTURED: RefCell<Option<(Level, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Writes to the thread that logs. One subscriber for the whole process: with one a test, a test that
/// starts or ends beside another one can leave that other without its lines.
struct PerThread;

struct Line {
    is_wanted: bool,
}

impl<'a> MakeWriter<'a> for PerThread {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { is_wanted: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        let is_wanted = CAPTURED.with_borrow(|captured| {
            let level = captured.as_ref().map(|(level, _)| level);
            level.is_some_and(|level| metadata.level() <= level)
        });
        Line { is_wanted }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        CAPTURED.with_borrow_mut(|captured| {
            if let Some((_, lines)) = captured.as_mut().filter(|_| self.is_wanted) {
                lines.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures what this thread logs from now on, at this level and above.
fn capture(level: Level) -> Lines {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("api=trace"))
            .with_ansi(false)
            .with_writer(PerThread)
            .init();
    });
    CAPTURED.set(Some((level, Vec::new())));
    Lines
}

/// The lines of this thread's capture; it ends with this.
struct Lines;

impl Lines {
    fn text(&self) -> String {
        CAPTURED.with_borrow(|captured| {
            let (_, lines) = captured.as_ref().unwrap();
            String::from_utf8(lines.clone()).unwrap()
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

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
