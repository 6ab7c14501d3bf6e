//! What the sandbox holds and remembers.

use anyhow::{Context, ensure};
use entity::fields::{Field, Fields};
use reqwest::Client;
use serde_json::Value;

use super::{Copy, Event, Happened, Request};

const KEY: &str = "sk_test_sandbox";

/// The living customers.
pub(crate) async fn copies(http: &Client, sandbox: &str) -> anyhow::Result<Vec<Copy>> {
    let found = list(http, &format!("{sandbox}/v1/customers")).await?;
    found.iter().map(copy).collect()
}

/// Every event, oldest first.
pub(crate) async fn events(http: &Client, sandbox: &str) -> anyhow::Result<Vec<Event>> {
    let mut found = list(http, &format!("{sandbox}/v1/events")).await?;
    found.reverse();
    found.iter().map(event).collect()
}

/// The requests that came after `seen`, which is moved on.
pub(crate) async fn requests(
    http: &Client,
    sandbox: &str,
    seen: &mut u64,
) -> anyhow::Result<Vec<Request>> {
    let url = format!("{sandbox}/_sandbox/requests?since={seen}&limit=5000");
    let mut answer = get(http, &url).await?;
    let requests: Vec<Request> = serde_json::from_value(answer["requests"].take())
        .context("reading the sandbox's record of requests")?;
    *seen = requests.last().map_or(*seen, |request| request.seq);
    Ok(requests)
}

async fn list(http: &Client, url: &str) -> anyhow::Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = match all.last() {
            Some(last) => format!("&starting_after={}", text(&last["id"])?),
            None => String::new(),
        };
        let mut page = get(http, &format!("{url}?limit=100{after}")).await?;
        let Value::Array(items) = page["data"].take() else {
            anyhow::bail!("a list of the sandbox has no data");
        };
        let is_last = items.is_empty() || page["has_more"] != true;
        all.extend(items);
        if is_last {
            return Ok(all);
        }
    }
}

async fn get(http: &Client, url: &str) -> anyhow::Result<Value> {
    let answer = http.get(url).bearer_auth(KEY).send().await?;
    ensure!(answer.status().is_success(), "{url}: {}", answer.status());
    Ok(answer.json().await?)
}

fn event(found: &Value) -> anyhow::Result<Event> {
    let happened = match text(&found["type"])?.as_str() {
        "customer.created" => Happened::Created,
        "customer.updated" => Happened::Updated,
        "customer.deleted" => Happened::Deleted,
        other => anyhow::bail!("an event of type {other}"),
    };
    let request = &found["request"];
    Ok(Event {
        happened,
        copy: copy(&found["data"]["object"])?,
        request: request["id"].as_str().map(str::to_owned),
        key: request["idempotency_key"].as_str().map(str::to_owned),
    })
}

fn copy(found: &Value) -> anyhow::Result<Copy> {
    let mut fields = Fields::default();
    for field in Field::ALL {
        let value = found[field.as_str()].as_str();
        fields.set(field, value.map(str::to_owned));
    }
    let customer = found["metadata"]["customer_sync_id"].as_str();
    Ok(Copy {
        stripe_id: text(&found["id"])?,
        customer: customer.and_then(|id| id.parse().ok()),
        fields: fields.canonical(),
    })
}

fn text(value: &Value) -> anyhow::Result<String> {
    let text = value
        .as_str()
        .context("an object of the sandbox has no id")?;
    Ok(text.to_owned())
}
