//! Which customers were read a moment ago. The first event of a burst has its customer read at once, and all that come
//! shortly after it have it read once more: a customer that is edited all the time costs a few reads a second.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Between two reads of one customer.
pub const GAP: Duration = Duration::from_millis(250);

/// When which customer was read. Forgets what is older than [`GAP`].
#[derive(Debug, Default)]
pub struct Recent {
    read: HashMap<String, Instant>,
    due: Option<Instant>,
}

impl Recent {
    /// Notes that a customer is read now.
    pub(super) fn note(&mut self, stripe_id: &str, now: Instant) {
        self.read.insert(stripe_id.to_owned(), now);
    }

    /// Those that may be read now; the others wait.
    pub(super) fn ready<T>(
        &mut self,
        customers: BTreeMap<String, T>,
        now: Instant,
    ) -> BTreeMap<String, T> {
        self.read.retain(|_, read| now < *read + GAP);
        self.due = None;
        let mut ready = customers;
        ready.retain(|stripe_id, _| {
            let Some(read) = self.read.get(stripe_id) else {
                return true;
            };
            let due = *read + GAP;
            self.due = Some(self.due.map_or(due, |known| known.min(due)));
            false
        });
        ready
    }

    /// When the first of those that wait may be read.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(ids: &[&str]) -> BTreeMap<String, ()> {
        ids.iter().map(|id| ((*id).to_owned(), ())).collect()
    }

    #[test]
    fn a_customer_that_was_just_read_waits_and_no_other_does() {
        let mut recent = Recent::default();
        let start = Instant::now();
        recent.note("cus_1", start);
        recent.note("cus_2", start + GAP / 2);
        let soon = start + GAP / 2;
        let ready = recent.ready(named(&["cus_1", "cus_2", "cus_3"]), soon);
        assert_eq!(ready, named(&["cus_3"]));
        assert_eq!(recent.due(), Some(start + GAP));
        let ready = recent.ready(named(&["cus_1", "cus_2"]), start + GAP);
        assert_eq!(ready, named(&["cus_1"]));
        assert_eq!(recent.due(), Some(start + GAP / 2 + GAP));
        let ready = recent.ready(named(&["cus_2"]), start + 2 * GAP);
        assert_eq!(ready, named(&["cus_2"]));
        assert_eq!(recent.due(), None);
        assert!(recent.read.is_empty());
    }
}
