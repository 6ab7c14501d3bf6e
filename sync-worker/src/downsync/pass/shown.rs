//! What a reader was shown and nobody has looked at yet: outlines to compare by, and the pages to read in full if they
//! differ from what was agreed on.

use entity::message::{Drift, Moment, StripeCopy};
use entity::stripe_object::Outline;

use super::seen::Seen;
use super::slice::Slice;
use super::walk::CLOSE_AT;
use crate::stripe::Source;

/// So many customers of a part are kept until it is closed. Of a larger one, as of a second in which very many were made,
/// they are looked at as they come.
const MOST_KEPT: usize = CLOSE_AT + 1_000;
/// So large may the pages be that are kept, and one page more. Of 20 of them with little metadata it is a fourth.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// So many pages are looked at together.
const PAGES_AT_ONCE: usize = 10;

/// Newest first.
#[derive(Default)]
pub(super) struct Shown {
    customers: Vec<Sketch>,
    pages: Vec<Kept>,
    unreadable: Vec<Unreadable>,
}

/// A customer that cannot be read.
struct Unreadable {
    stripe_id: String,
    created: i64,
    read_at: Moment,
}

#[derive(Clone, Copy)]
struct Sketch {
    created: i64,
    fingerprint: Option<i64>,
}

struct Kept {
    source: Source,
    /// The oldest customer that it was the first to show.
    oldest: i64,
    /// Before it was read.
    read_at: Moment,
}

impl Shown {
    /// Adds a page and whom it was the first to show.
    pub(super) fn add(&mut self, fresh: &[Outline], source: Source, read_at: Moment) {
        let Some(oldest) = fresh.iter().map(|outline| outline.created).min() else {
            return;
        };
        let unreadable = fresh.iter().filter(|outline| !outline.is_readable);
        self.unreadable.extend(unreadable.map(|outline| Unreadable {
            stripe_id: outline.stripe_id.clone(),
            created: outline.created,
            read_at,
        }));
        self.customers.extend(fresh.iter().map(|outline| Sketch {
            created: outline.created,
            fingerprint: outline.fingerprint,
        }));
        self.pages.push(Kept {
            source,
            oldest,
            read_at,
        });
    }

    /// Whether no more of it should be kept.
    pub(super) fn is_full(&self) -> bool {
        let bytes: usize = self.pages.iter().map(|page| page.source.size()).sum();
        self.customers.len() >= MOST_KEPT || bytes >= MOST_BYTES
    }

    /// Of those that were made in a part or after it.
    pub(super) fn fingerprints(&self, part: Slice) -> impl Iterator<Item = Option<i64>> {
        let customers = self.customers.iter();
        customers
            .filter(move |customer| customer.created >= part.from)
            .map(|customer| customer.fingerprint)
    }

    /// Those that were made in a part, in full, each once, some pages at a time.
    pub(super) fn made_in(&self, part: Slice) -> impl Iterator<Item = Vec<Drift>> {
        let mut ids = Seen::default();
        let batches = self.pages.chunks(PAGES_AT_ONCE).map(move |pages| {
            let mut customers = Vec::new();
            for page in pages {
                let read_at = page.read_at;
                let mut copies = page.source.customers();
                copies.retain(|copy| {
                    (part.from..=part.to).contains(&copy.created) && ids.insert(&copy.stripe_id)
                });
                customers.extend(copies.into_iter().map(|copy| Drift { copy, read_at }));
            }
            customers
        });
        let in_part = |one: &&Unreadable| (part.from..=part.to).contains(&one.created);
        let unreadable = self.unreadable.iter().filter(in_part).map(|one| Drift {
            copy: StripeCopy::unreadable(&one.stripe_id),
            read_at: one.read_at,
        });
        let batches = batches.chain([unreadable.collect()]);
        batches.filter(|customers| !customers.is_empty())
    }

    /// Forgets those that were made in a part or after it.
    pub(super) fn forget_from(&mut self, part: Slice) {
        self.customers
            .retain(|customer| customer.created < part.from);
        self.pages.retain(|page| page.oldest < part.from);
        self.unreadable.retain(|one| one.created < part.from);
    }
}
