//! A served sandbox and a plain client for it.

pub(crate) mod receiver;
pub(crate) mod wait;

use std::time::Duration;

use chrono::DateTime;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use stripe_sandbox::{Clock, Options, Running, Sandbox, start};

pub(crate) const KEY: &str = "sk_test_sandbox";
pub(crate) const START: i64 = 1_800_000_000;

pub(crate) struct Account {
    pub(crate) running: Running,
    client: reqwest::Client,
}

/// What came back: the status, one look at the headers, the parsed body.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

pub(crate) fn manual() -> Options {
    let clock = Clock::manual(DateTime::from_timestamp(START, 0).unwrap());
    Options {
        clock,
        seed: Some(1),
        ..Options::default()
    }
}

impl Account {
    pub(crate) async fn open(options: Options) -> Self {
        let running = start(options).await.unwrap();
        Self {
            running,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) async fn manual() -> Self {
        Self::open(manual()).await
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.running.sandbox
    }

    pub(crate) fn advance(&self, seconds: u64) {
        assert!(
            self.sandbox()
                .options()
                .clock
                .advance(Duration::from_secs(seconds))
        );
    }

    /// A request with the key, to be completed and sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(KEY)
    }

    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.running.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        send(self.request(Method::POST, path).form(fields)).await
    }

    pub(crate) async fn post_keyed(&self, path: &str, key: &str, fields: &[(&str, &str)]) -> Reply {
        send(
            self.request(Method::POST, path)
                .header("Idempotency-Key", key)
                .form(fields),
        )
        .await
    }

    /// Registers a webhook endpoint and gives its id and secret.
    pub(crate) async fn register(&self, url: &str, events: &str) -> (String, String) {
        let fields = [("url", url), ("enabled_events[]", events)];
        let made = self.post("/v1/webhook_endpoints", &fields).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    /// Creates a customer and gives its id.
    pub(crate) async fn create(&self, fields: &[(&str, &str)]) -> String {
        let reply = self.post("/v1/customers", fields).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["id"].as_str().unwrap().to_owned()
    }
}

impl Reply {
    pub(crate) async fn read(response: Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        Self {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let data = self.body["data"].as_array().unwrap();
        data.iter()
            .map(|object| object["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Status, type, code and param of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str, Option<&str>, Option<&str>) {
        let error = &self.body["error"];
        (
            self.status,
            error["type"].as_str().unwrap_or(""),
            error["code"].as_str(),
            error["param"].as_str(),
        )
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Reply {
    Reply::read(request.send().await.unwrap()).await
}
