//! Counts the reads that are sent, until somebody takes the counts to the database.

use std::sync::atomic::{AtomicU64, Ordering};

use entity::stripe_read::Kind;

use super::limiter::Lane;

/// How many of each [`Kind`], in the order of [`Kind::ALL`].
#[derive(Default)]
pub(super) struct Reads([AtomicU64; Kind::ALL.len()]);

impl Reads {
    pub(super) fn count(&self, kind: Kind) {
        metrics::counter!("stripe_reads_total", "kind" => kind.as_str()).increment(1);
        self.add(kind, 1);
    }

    pub(super) fn add(&self, kind: Kind, count: u64) {
        let place = Kind::ALL.iter().position(|known| *known == kind);
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What was counted since the last time, without what was not read.
    pub(super) fn take(&self) -> Vec<(Kind, u64)> {
        let counts = Kind::ALL.into_iter().zip(&self.0);
        counts
            .map(|(kind, counter)| (kind, counter.swap(0, Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// A read under way. It counts unless it turns out that it never left, and so one that nobody waits for any more counts.
pub(super) struct Sending<'a> {
    reads: &'a Reads,
    kind: Option<Kind>,
}

impl<'a> Sending<'a> {
    /// None is no read.
    pub(super) fn new(reads: &'a Reads, kind: Option<Kind>) -> Self {
        Self { reads, kind }
    }

    pub(super) fn never_left(mut self) {
        self.kind = None;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(kind) = self.kind {
            self.reads.count(kind);
        }
    }
}

/// What a GET reads.
pub(super) fn kind(operation: &str, lane: Lane) -> Kind {
    match (operation, lane) {
        ("events", _) => Kind::Events,
        ("list", Lane::Downsync) => Kind::List,
        ("list", Lane::Upsync) => Kind::Lookup,
        ("retrieve", Lane::Downsync) => Kind::Retrieve,
        ("retrieve", Lane::Upsync) => Kind::Precheck,
        ("account", _) => Kind::Account,
        _ => Kind::Other,
    }
}
