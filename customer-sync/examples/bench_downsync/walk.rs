//! Every customer in Stripe, read as fast as that goes: the years in equal slices, the newest first, some of them side
//! by side, each page by page; a page is parsed into what the worker needs of it and handed on.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::sandbox::Sandbox;

#[derive(Args, Clone, Copy)]
pub(crate) struct Plan {
    /// Slices that are read at the same time
    #[arg(long, default_value_t = 8)]
    side_by_side: usize,
    /// Slices in all
    #[arg(long, default_value_t = 64)]
    slices: i64,
    /// The second before which nobody was created; the sandbox loads customers of 2019 and later
    #[arg(long, default_value_t = 1_546_300_800)]
    since: i64,
}

#[derive(Deserialize)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) description: Option<String>,
    /// The worker has to look whether a customer is one of its own.
    #[expect(dead_code, reason = "parsed because the worker has to parse it")]
    metadata: std::collections::HashMap<String, String>,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Customer>,
    has_more: bool,
}

/// Hands on every page; returns how many requests that took.
pub(crate) async fn walk(
    stripe: Sandbox,
    plan: Plan,
    pages: mpsc::Sender<Vec<Customer>>,
) -> anyhow::Result<u64> {
    let newest = page(&stripe, "limit=1").await?.data;
    let newest = newest.first().context("there are no customers")?.created;
    ensure!(
        newest >= plan.since && plan.slices > 0,
        "there is nothing to cut into slices"
    );
    let slices = Arc::new(Mutex::new(cut(plan.since, newest, plan.slices)));
    let mut readers = JoinSet::new();
    for _ in 0..plan.side_by_side {
        readers.spawn(read(stripe.clone(), slices.clone(), pages.clone()));
    }
    drop(pages);
    let mut requests = 1;
    while let Some(read) = readers.join_next().await {
        requests += read??;
    }
    Ok(requests)
}

/// The seconds from `first` to `last`, both included, as ranges that meet and do not overlap, oldest first.
fn cut(first: i64, last: i64, slices: i64) -> Vec<(i64, i64)> {
    let border = |number: i64| first + (last + 1 - first) * number / slices;
    (0..slices)
        .map(|number| (border(number), border(number + 1) - 1))
        .filter(|(from, to)| from <= to)
        .collect()
}

async fn read(
    stripe: Sandbox,
    slices: Arc<Mutex<Vec<(i64, i64)>>>,
    pages: mpsc::Sender<Vec<Customer>>,
) -> anyhow::Result<u64> {
    let mut requests = 0;
    let next = || slices.lock().unwrap_or_else(PoisonError::into_inner).pop();
    while let Some((from, to)) = next() {
        let range = format!("limit=100&created[gte]={from}&created[lte]={to}");
        let mut query = range.clone();
        loop {
            let Page { data, has_more } = page(&stripe, &query).await?;
            requests += 1;
            if let Some(last) = data.last().filter(|_| has_more) {
                query = format!("{range}&starting_after={}", last.id);
            }
            if !data.is_empty() && pages.send(data).await.is_err() {
                return Ok(requests);
            }
            if !has_more {
                break;
            }
        }
    }
    Ok(requests)
}

async fn page(stripe: &Sandbox, query: &str) -> anyhow::Result<Page> {
    let answer = stripe.get(&format!("/v1/customers?{query}")).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let body = answer.context("listing customers")?.bytes().await?;
    serde_json::from_slice(&body).context("parsing a page of customers")
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn slices_meet_and_hold_every_second_once() {
        for (first, last, slices) in [(10, 10, 64), (0, 99, 7), (1_546_300_800, 1_767_225_600, 64)]
        {
            let cut = cut(first, last, slices);
            assert_eq!((cut[0].0, cut[cut.len() - 1].1), (first, last));
            assert!(cut.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
        }
    }
}
