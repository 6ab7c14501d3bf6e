//! The ids that were seen in a part of Stripe's list.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// Ids as hashes: 8 bytes each, and the slack of a table. Two ids with one hash could only hide a deletion
/// until the next pass, never invent one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(HashSet<u64, BuildHasherDefault<Hashed>>);

/// What is hashed already is not hashed again.
#[derive(Clone, Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Seen {
    /// Notes an id; false if it was seen already.
    pub(super) fn insert(&mut self, stripe_id: &str) -> bool {
        self.0.insert(hash(stripe_id))
    }

    pub(super) fn remove(&mut self, stripe_id: &str) {
        self.0.remove(&hash(stripe_id));
    }

    pub(super) fn contains(&self, stripe_id: &str) -> bool {
        self.0.contains(&hash(stripe_id))
    }

    pub(super) fn with_capacity(ids: usize) -> Self {
        Self(HashSet::with_capacity_and_hasher(
            ids,
            BuildHasherDefault::default(),
        ))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// An id in 8 bytes.
pub(crate) fn hash(stripe_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    stripe_id.hash(&mut hasher);
    hasher.finish()
}
