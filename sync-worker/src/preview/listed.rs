//! Who is in Stripe's list, at 8 bytes a customer.

use entity::message::StripeCopy;

use crate::downsync::pass::seen::hash;

/// The ids so far, as hashes. Two ids with one hash could only hide a deletion, never invent one.
#[derive(Debug, Default)]
pub(super) struct Listed(Vec<u64>);

/// All of them.
#[derive(Debug)]
pub(super) struct Sorted(Vec<u64>);

impl Listed {
    pub(super) fn extend(&mut self, copies: &[StripeCopy]) {
        self.0
            .extend(copies.iter().map(|copy| hash(&copy.stripe_id)));
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn sorted(mut self) -> Sorted {
        self.0.sort_unstable();
        Sorted(self.0)
    }
}

impl Sorted {
    pub(super) fn contains(&self, stripe_id: &str) -> bool {
        self.0.binary_search(&hash(stripe_id)).is_ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_contained_if_it_was_listed() {
        let ids: Vec<String> = (0..1_000).map(|n| format!("cus_{n}")).collect();
        let listed = Listed(ids.iter().map(|id| hash(id)).collect());
        assert_eq!(listed.count(), 1_000);
        let sorted = listed.sorted();
        assert!(ids.iter().all(|id| sorted.contains(id)));
        assert!(!sorted.contains("cus_1000") && !sorted.is_empty());
    }
}
