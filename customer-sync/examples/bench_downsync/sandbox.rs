//! The sandbox as these programs use it.

use anyhow::Context;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct Sandbox {
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Sandbox {
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.authorized(self.client.get(format!("{}{path}", self.url)))
    }

    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.authorized(self.client.post(format!("{}{path}", self.url)).form(fields))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth("sk_test_bench")
    }

    /// The secret of a new webhook endpoint.
    pub(crate) async fn register(&self, url: &str) -> anyhow::Result<String> {
        let fields = [("url", url), ("enabled_events[]", "customer.*")];
        let answer = self.post("/v1/webhook_endpoints", &fields).send().await?;
        let endpoint: Value = answer.error_for_status()?.json().await?;
        let secret = endpoint["secret"].as_str();
        Ok(secret.context("the new endpoint has no secret")?.to_owned())
    }

    /// Requests since its start: to one route, or to all.
    pub(crate) async fn count(&self, route: Option<&str>) -> anyhow::Result<u64> {
        let answer = self.get("/_sandbox/stats").send().await?;
        let stats: Value = answer.error_for_status()?.json().await?;
        let counts = stats["requests"].as_object();
        let counts = counts.context("the sandbox counts no requests")?;
        Ok(counts
            .iter()
            .filter(|(name, _)| route.is_none_or(|route| route == *name))
            .filter_map(|(_, count)| count.as_u64())
            .sum())
    }

    pub(crate) async fn forget(&self) -> anyhow::Result<String> {
        let requests = format!("{}/_sandbox/requests", self.url);
        let answer = self.client.delete(requests).send().await?;
        answer.error_for_status()?;
        Ok(String::new())
    }

    /// Lists of customers, but for those of one: the worker asks for one to see what its key is good for.
    pub(crate) async fn pages(&self) -> anyhow::Result<usize> {
        let (mut pages, mut since) = (0, 0);
        loop {
            let path = format!("/_sandbox/requests?since={since}");
            let answer = self.get(&path).send().await?.error_for_status()?;
            let Record { requests, last } = answer.json().await?;
            pages += requests.iter().filter(|it| it.is_page()).count();
            if requests.is_empty() {
                return Ok(pages);
            }
            since = last;
        }
    }

    /// Edits one customer as a person does on the sandbox's page.
    pub(crate) async fn rename(&self, id: &str, name: &str) -> anyhow::Result<()> {
        let answer = self
            .post(&format!("/dashboard/customers/{id}"), &[("name", name)])
            .send()
            .await
            .context("editing a customer")?;
        anyhow::ensure!(
            answer.status() == 303,
            "the sandbox answered an edit with {}",
            answer.status()
        );
        Ok(())
    }
}

#[derive(Deserialize)]
struct Record {
    requests: Vec<Request>,
    last: u64,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    path: String,
    query: String,
}

impl Request {
    fn is_page(&self) -> bool {
        let is_of_one = self.query.split('&').any(|part| part == "limit=1");
        self.method == "GET" && self.path == "/v1/customers" && !is_of_one
    }
}
