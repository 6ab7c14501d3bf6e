//! The API and the sandbox as their users see them: over HTTP.

use std::sync::Once;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::process::PATIENCE;

/// An answer: its status and its JSON.
pub(crate) type Answer = (StatusCode, Value);

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) base: String,
    key: Option<&'static str>,
}

impl Client {
    pub(crate) fn api(base: &str) -> Self {
        Self::new(base, None)
    }

    pub(crate) fn sandbox(base: &str) -> Self {
        Self::new(base, Some("sk_test_sandbox"))
    }

    fn new(base: &str, key: Option<&'static str>) -> Self {
        static TLS: Once = Once::new();
        // The client wants one even for plain HTTP.
        TLS.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        Self {
            http: reqwest::Client::builder()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
            base: base.trim_end_matches('/').to_owned(),
            key,
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path).json(body);
        answer(request).await.unwrap()
    }

    pub(crate) async fn form(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Answer {
        answer(self.request(method, path).form(form)).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await.unwrap()
    }

    /// Waits until the server answers at all.
    pub(crate) async fn up(&self, path: &str) {
        until("the server answers", async || {
            answer(self.request(Method::GET, path)).await.ok()
        })
        .await;
    }

    /// The sandbox's customers whose metadata names a row.
    pub(crate) async fn of_row(&self, id: &str) -> Vec<Value> {
        let (_, list) = self.get("/v1/customers?limit=100").await;
        let all = list["data"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .filter(|customer| customer["metadata"]["customer_sync_id"] == id)
            .collect()
    }

    /// The sandbox's only customer of a row, once there is one that passes.
    pub(crate) async fn one_of_row(&self, id: &str, passes: impl Fn(&Value) -> bool) -> Value {
        until("the customer is in Stripe as it is to be", async || {
            let found = self.of_row(id).await;
            assert!(found.len() <= 1, "created twice: {found:?}");
            found.into_iter().find(&passes)
        })
        .await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}

async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// Polls until there is something; the bounded wait of these tests.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
