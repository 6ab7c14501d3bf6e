//! The record of what was asked of the sandbox: the latest requests one by one, and all of them counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

/// Requests that are remembered one by one; older ones are only counted.
const KEPT: usize = 200_000;

/// One request to the API.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// Counts from 1 and never repeats, not even after a clear.
    pub seq: u64,
    pub method: String,
    pub path: String,
    pub query: String,
    /// None while it is in progress, and for ever when the connection was cut before an answer.
    pub status: Option<u16>,
    pub idempotency_key: Option<String>,
    pub request_id: String,
    /// Microseconds since the epoch by the system's clock, taken at receipt.
    pub received_at_us: u64,
    /// The same clock when an answer was ready; None while `status` is.
    pub answered_at_us: Option<u64>,
    /// Tells one set of parameters from another, in whatever order and spelling: 16 hex characters of a
    /// SHA-256. None without parameters.
    pub parameters: Option<String>,
    /// The customer it is about, once known.
    pub customer: Option<String>,
    /// `metadata[customer_sync_id]` of its body.
    pub customer_sync_id: Option<String>,
    /// The fault that was put into it.
    pub fault: Option<String>,
}

#[derive(Default)]
pub(crate) struct Traffic(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    last: u64,
    kept: VecDeque<Request>,
    counts: BTreeMap<String, u64>,
}

impl Traffic {
    /// Notes a request at its receipt, under the name that it is counted by; gives its number.
    pub(crate) fn begin(&self, mut request: Request, name: &str) -> u64 {
        let mut inner = self.lock();
        inner.last += 1;
        request.seq = inner.last;
        if inner.kept.len() >= KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(request);
        match inner.counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(inner.counts.insert(name.to_owned(), 1)),
        }
        inner.last
    }

    pub(crate) fn update(&self, seq: u64, change: impl FnOnce(&mut Request)) {
        let mut inner = self.lock();
        let Some(first) = inner.kept.front().map(|request| request.seq) else {
            return;
        };
        let place = seq
            .checked_sub(first)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| inner.kept.get_mut(place)) {
            change(request);
        }
    }

    /// The requests after number `since`, oldest first, at most `limit`.
    pub(crate) fn since(&self, since: u64, limit: usize) -> Vec<Request> {
        let inner = self.lock();
        let start = inner.kept.partition_point(|request| request.seq <= since);
        inner.kept.range(start..).take(limit).cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().kept.clear();
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn epoch_us(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
