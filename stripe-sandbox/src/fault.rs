//! What can go wrong, on request: armed faults, and which of them strike a request or a delivery. Nothing
//! of this happens by itself; without an armed fault the sandbox is honest.

mod armed;
mod kind;
pub(crate) mod other;
mod page;
pub(crate) mod plan;
pub(crate) mod tamper;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::armed::glob;
pub use self::armed::{Armed, Fault};
pub use self::kind::{Kind, Reason, Shows};
use self::plan::Plan;
use self::tamper::Tamper;

/// Faults armed at most; beyond it, the oldest that is used up is dropped for a new one.
const ARMED_MAX: usize = 1000;

pub(crate) struct Faults(Mutex<Inner>);

struct Inner {
    last: u64,
    armed: Vec<Armed>,
    rng: StdRng,
}

impl Faults {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let rng = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        Self(Mutex::new(Inner {
            last: 0,
            armed: Vec::new(),
            rng,
        }))
    }

    pub(crate) fn arm(&self, fault: Fault) -> u64 {
        let mut inner = self.lock();
        if inner.armed.len() >= ARMED_MAX {
            let used_up = inner.armed.iter().position(Armed::is_used_up).unwrap_or(0);
            inner.armed.remove(used_up);
        }
        inner.last += 1;
        let id = inner.last;
        inner.armed.push(Armed {
            id,
            fault,
            hits: 0,
            seen: 0,
        });
        id
    }

    pub(crate) fn armed(&self) -> Vec<Armed> {
        self.lock().armed.clone()
    }

    pub(crate) fn disarm(&self, id: u64) -> bool {
        let mut inner = self.lock();
        let before = inner.armed.len();
        inner.armed.retain(|armed| armed.id != id);
        inner.armed.len() != before
    }

    pub(crate) fn clear(&self) {
        self.lock().armed.clear();
    }

    pub(crate) fn holds_event_time(&self) -> bool {
        self.lock()
            .armed
            .iter()
            .any(|armed| matches!(armed.fault.kind, Kind::EventsInOneSecond))
    }

    /// What strikes a request that is counted as `name` and was sent as `line`, its method and path.
    pub(crate) fn plan(&self, name: &str, line: &str) -> Plan {
        let mut inner = self.lock();
        if inner.armed.is_empty() {
            return Plan::default();
        }
        let struck = inner.strike(|fault| {
            fault.kind.is_of_requests() && (fault.on == name || glob(&fault.on, line))
        });
        let dice = inner.rng.random();
        Plan::new(&struck, dice)
    }

    /// What strikes the delivery of an event of this type.
    pub(crate) fn tamper(&self, kind: &str) -> Tamper {
        let mut inner = self.lock();
        if inner.armed.is_empty() {
            return Tamper::default();
        }
        let struck = inner.strike(|fault| fault.kind.is_of_webhooks() && glob(&fault.on, kind));
        let dice = inner.rng.random();
        Tamper::new(&struck, dice)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn strike(&mut self, meant: impl Fn(&Fault) -> bool) -> Vec<Kind> {
        let mut struck = Vec::new();
        for armed in self
            .armed
            .iter_mut()
            .filter(|armed| !armed.is_used_up() && meant(&armed.fault))
        {
            armed.seen += 1;
            let strikes = armed.seen > armed.fault.skip
                && self
                    .rng
                    .random_bool(armed.fault.probability.clamp(0.0, 1.0));
            if strikes {
                armed.hits += 1;
                struck.push(armed.fault.kind.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_is_told_after_those_it_skips() {
        let faults = Faults::new(Some(1));
        faults.arm(
            Fault::once(
                "POST /v1/customers",
                Kind::ErrorBeforeEffect { should_retry: None },
            )
            .skip(1)
            .times(2),
        );
        let strikes: Vec<bool> = (0..5)
            .map(|_| {
                !faults
                    .plan("POST /v1/customers", "POST /v1/customers")
                    .is_nothing()
            })
            .collect();
        assert_eq!(strikes, [false, true, true, false, false]);
        assert!(
            faults
                .plan("GET /v1/customers", "GET /v1/customers")
                .is_nothing()
        );
        assert_eq!(faults.armed()[0].hits, 2);
    }

    #[test]
    fn chance_is_repeated_by_the_seed() {
        let run = || {
            let faults = Faults::new(Some(9));
            faults.arm(Fault::always("*", Kind::LostItem).probability(0.5));
            (0..50)
                .map(|_| !faults.plan("x", "x").is_nothing())
                .collect::<Vec<bool>>()
        };
        assert_eq!(run(), run());
        assert!(run().contains(&true) && run().contains(&false));
    }
}
