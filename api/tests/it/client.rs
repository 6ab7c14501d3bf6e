//! A client without a network: requests go to the endpoint that the server would run.

use std::sync::Arc;
use std::time::Duration;

use api::{App, Keys, WebhookSecrets};
use chrono::{DateTime, Utc};
use entity::email::Policy;
use entity::{customer, outbox};
use platform::clock::Clock;
use platform::config::Secret;
use platform::database::{Database, begin};
use platform::health::Health;
use platform::http::site::Hosts;
use platform::lease::{Held, Lease};
use platform::telemetry;
use platform::test_support::TestDatabase;
use platform::wake::Wake;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method};
use poem::{Body, Endpoint, EndpointExt, Request, Response};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryOrder};
use serde_json::{Value, json};

/// An API on a database of its own, at a time of its own. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Api {
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) wake: Wake,
    /// Woken by a new event.
    pub(crate) inbox: Wake,
    pub(crate) database: Arc<TestDatabase>,
}

impl Api {
    pub(crate) fn on(database: TestDatabase) -> Self {
        Self::with_keys(database, "")
    }

    pub(crate) fn with_keys(database: TestDatabase, keys: &str) -> Self {
        let app = app(&database, keys);
        Self::of(app, database)
    }

    /// As it is served on loopback, with what is configured as API_HOSTS.
    pub(crate) fn on_loopback(database: TestDatabase, keys: &str, names: &[&str]) -> Self {
        let bound = "127.0.0.1:8000".parse().unwrap();
        let names = names.iter().map(|name| name.parse().unwrap());
        let app = App {
            hosts: Hosts::of(bound, names),
            ..app(&database, keys)
        };
        Self::of(app, database)
    }

    /// Without STRIPE_WEBHOOK_SECRET.
    pub(crate) fn without_webhooks(database: TestDatabase) -> Self {
        let app = App {
            webhook_secrets: WebhookSecrets::default(),
            ..app(&database, "")
        };
        Self::of(app, database)
    }

    /// As it is with this EMAIL_REJECT.
    pub(crate) fn rejecting(database: TestDatabase, kinds: &str) -> Self {
        let app = App {
            email_policy: kinds.parse().unwrap(),
            ..app(&database, "")
        };
        Self::of(app, database)
    }

    fn of(app: App, database: TestDatabase) -> Self {
        Self {
            db: app.db.clone(),
            clock: app.clock.clone(),
            wake: app.wake.clone(),
            inbox: app.inbox.clone(),
            endpoint: Arc::new(api::routes(app).boxed()),
            database: Arc::new(database),
        }
    }

    pub(crate) async fn send(&self, request: Request) -> Reply {
        let response = self
            .endpoint
            .call(request)
            .await
            .expect("every error is an answer");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.into_body().into_string().await.unwrap();
        Reply {
            status,
            headers,
            text,
        }
    }

    /// The headers and the body of an answer that may be no text.
    pub(crate) async fn bytes(&self, request: Request) -> (HeaderMap, Vec<u8>) {
        let response = self.endpoint.call(request).await.unwrap();
        let headers = response.headers().clone();
        (headers, response.into_body().into_vec().await.unwrap())
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.call_with(method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let request = builder(method, path, headers).content_type("application/json");
        self.send(request.body(body.to_string())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(builder("GET", path, headers).body(Body::empty()))
            .await
    }

    pub(crate) async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(builder("DELETE", path, headers).body(Body::empty()))
            .await
    }

    /// Lets time pass: on Postgres, whose clock no test can move, everything that was stored becomes older.
    pub(crate) async fn later(&self, by: Duration) {
        self.clock.advance(by);
        if self.db.get_database_backend() != DbBackend::Postgres {
            return;
        }
        for (table, columns) in TIMES {
            let micros = by.as_micros();
            let older = |column| format!("{column} = {column} - interval '{micros} microseconds'");
            let older: Vec<_> = columns.iter().map(older).collect();
            let update = format!("UPDATE {table} SET {}", older.join(", "));
            self.db.execute_unprepared(&update).await.unwrap();
        }
    }

    /// The database's clock.
    pub(crate) async fn now(&self) -> DateTime<Utc> {
        platform::database::now(&self.db, &self.clock)
            .await
            .unwrap()
    }

    /// Creates a customer and returns it.
    pub(crate) async fn created(&self, email: &str) -> Value {
        let reply = self.call("POST", CUSTOMERS, json!({"email": email, "name": "Bob"}));
        reply.await.expect(201)
    }

    pub(crate) async fn customers(&self) -> Vec<customer::Model> {
        customer::Entity::find().all(&self.db).await.unwrap()
    }

    /// The sum of the revisions of all customers.
    pub(crate) async fn revs(&self) -> i64 {
        self.customers().await.iter().map(|row| row.rev).sum()
    }

    /// The outbox, in its order.
    pub(crate) async fn outbox(&self) -> Vec<outbox::Model> {
        let rows = outbox::Entity::find().order_by_asc(outbox::Column::Id);
        rows.all(&self.db).await.unwrap()
    }
}

/// Publishes everything as the relay does, and so moves it to the timeline.
pub(crate) struct Publisher(Held);

impl Publisher {
    pub(crate) async fn new(api: &Api) -> Self {
        let lease = Lease::new("outbox-relay", Duration::from_secs(600));
        Self(lease.acquire(&api.db, &api.clock).await.unwrap().unwrap())
    }

    pub(crate) async fn publish(&self, api: &Api) {
        let ids: Vec<i64> = api.outbox().await.iter().map(|row| row.id).collect();
        let tx = begin(&api.db).await.unwrap();
        let by = ("outbox-relay", self.0.epoch());
        let settled = outbox::settle(&tx, &ids, by, api.now().await).await;
        assert_eq!(settled.unwrap(), ids.len() as u64);
        tx.commit().await.unwrap();
    }
}

/// What tests look at the times of.
const TIMES: [(&str, &[&str]); 7] = [
    ("customer", &["created_at", "updated_at"]),
    ("outbox", &["created_at"]),
    ("api_idempotency", &["created_at"]),
    ("conflict", &["created_at", "resolved_at"]),
    ("unmatched", &["created_at"]),
    ("stripe_link", &["updated_at", "parked_at"]),
    ("timeline", &["at", "committed_at"]),
];

/// Of Stripe's webhook endpoints, while one of them is rolled.
pub(crate) const WEBHOOK_SECRETS: &str = "whsec_old,whsec_new";

pub(crate) const CUSTOMERS: &str = "/api/v1/customers";

pub(crate) fn app(database: &TestDatabase, keys: &str) -> App {
    App {
        db: database.connection.clone(),
        clock: Clock::manual(start()),
        wake: Wake::default(),
        inbox: Wake::default(),
        health: Health::new(),
        metrics: telemetry::metrics().unwrap(),
        keys: Keys::parse(&Secret::new(keys)),
        hosts: Hosts::default(),
        webhook_secrets: WebhookSecrets::parse(&Secret::new(WEBHOOK_SECRETS)),
        email_policy: Policy::default(),
    }
}

pub(crate) fn start() -> DateTime<Utc> {
    "2026-01-02T03:04:05.678901Z".parse().unwrap()
}

pub(crate) fn path_of(customer: &Value) -> String {
    format!("{CUSTOMERS}/{}", customer["id"].as_str().unwrap())
}

pub(crate) fn builder(method: &str, path: &str, headers: &[(&str, &str)]) -> poem::RequestBuilder {
    let mut builder = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri_str(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name}"))
            .to_str()
            .unwrap()
    }

    /// Checks that this is a whole problem with this status and code, and returns the field at fault.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Option<String> {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{}", self.text);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert_eq!(self.header("content-type"), "application/problem+json");
        for member in ["title", "detail"] {
            assert!(
                !problem[member].as_str().unwrap().is_empty(),
                "{}",
                self.text
            );
        }
        problem["field"].as_str().map(str::to_owned)
    }

    /// `problem`, when a field is at fault.
    #[track_caller]
    pub(crate) fn fault(&self, status: u16, code: &str) -> String {
        self.problem(status, code).expect("a field is named")
    }
}
