//! The ids that a full pass saw.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The ids that a pass saw, as hashes. Two ids with one hash could only hide a deletion until the
/// next pass, never invent one.
#[derive(Default)]
pub struct Seen(HashSet<u64>);

impl Seen {
    /// Notes an id; false if it was seen already.
    pub(super) fn insert(&mut self, stripe_id: &str) -> bool {
        self.0.insert(hash(stripe_id))
    }

    pub fn contains(&self, stripe_id: &str) -> bool {
        self.0.contains(&hash(stripe_id))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn hash(stripe_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    stripe_id.hash(&mut hasher);
    hasher.finish()
}
