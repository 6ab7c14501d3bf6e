//! How far a full pass has come, for whoever shows it or has to know that it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

/// A pass under way, at a glance. How many customers there are in all is not known before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// When this process began with it.
    pub since: Instant,
    /// Those that a process before has read.
    pub customers_before: u64,
    pub customers: u64,
    pub pages: u64,
    /// That are being read or wait for it.
    pub slices: usize,
}

impl Glance {
    /// By this process, since it began.
    pub fn customers_per_second(&self, now: Instant) -> u64 {
        let seconds = now.saturating_duration_since(self.since).as_secs().max(1);
        (self.customers - self.customers_before) / seconds
    }
}

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    glance: watch::Sender<Option<Glance>>,
    is_drawn: Arc<AtomicBool>,
}

/// A pass that is shown until this is dropped.
pub(crate) struct Shown(Gauge);

impl Gauge {
    /// Changes with every page; `None` while there is no pass.
    pub fn watch(&self) -> watch::Receiver<Option<Glance>> {
        self.glance.subscribe()
    }

    /// Somebody draws it on a terminal, so the log need not tell of it.
    pub fn draw(&self) -> watch::Receiver<Option<Glance>> {
        self.is_drawn.store(true, Ordering::Relaxed);
        self.watch()
    }

    pub(crate) fn is_drawn(&self) -> bool {
        self.is_drawn.load(Ordering::Relaxed)
    }

    /// A pass begins, or goes on after so many customers and pages.
    pub(crate) fn begin(&self, (customers, pages): (u64, u64), slices: usize) -> Shown {
        self.glance.send_replace(Some(Glance {
            since: Instant::now(),
            customers_before: customers,
            customers,
            pages,
            slices,
        }));
        Shown(self.clone())
    }

    /// A page was compared.
    pub(crate) fn add_page(&self, customers: u64) {
        self.change(|glance| {
            glance.pages += 1;
            glance.customers += customers;
        });
    }

    pub(crate) fn set_slices(&self, slices: usize) {
        self.change(|glance| glance.slices = slices);
    }

    fn change(&self, change: impl FnOnce(&mut Glance)) {
        self.glance.send_modify(|glance| {
            if let Some(glance) = glance {
                change(glance);
            }
        });
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.glance.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_is_that_of_this_process() {
        let gauge = Gauge::default();
        let shown = gauge.begin((5_000, 50), 3);
        gauge.add_page(100);
        gauge.add_page(100);
        gauge.set_slices(2);
        let watched = gauge.watch();
        let glance = watched.borrow().unwrap();
        assert_eq!(
            (glance.customers, glance.pages, glance.slices),
            (5_200, 52, 2)
        );
        let later = glance.since + Duration::from_secs(4);
        assert_eq!(glance.customers_per_second(later), 50);
        drop(shown);
        assert_eq!(*watched.borrow(), None);
        gauge.add_page(100);
        assert_eq!(*watched.borrow(), None);
    }
}
