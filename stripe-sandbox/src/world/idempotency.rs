//! Saved answers by idempotency key: kept for 24 hours by the sandbox's clock, bounded in number, bound to the
//! endpoint and the parameters they were first used with.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::customer::Customer;
use super::event::RequestId;
use crate::wire::error::Error;

const KEPT_SECONDS: i64 = 24 * 3600;

/// What a request under a key claims to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) key: Arc<str>,
    pub(crate) path: Box<str>,
    /// The first bytes of a SHA-256 over the parameters.
    pub(crate) fingerprint: [u8; 16],
}

#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) claim: Claim,
    pub(crate) at: i64,
    pub(crate) status: u16,
    /// The request that was answered so first.
    pub(crate) request: RequestId,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Rendered anew, to the same bytes, instead of being kept twice.
    Customer(Arc<Customer>),
    Text(Arc<str>),
}

pub(crate) enum Begun {
    Fresh,
    Replay(Saved),
}

pub(crate) struct Store {
    saved: HashMap<Arc<str>, Saved>,
    /// Keys by age, oldest first.
    order: VecDeque<(i64, Arc<str>)>,
    in_flight: HashSet<Arc<str>>,
    max: usize,
}

impl Claim {
    pub(crate) fn new(key: &str, path: &str, parameters: &str) -> Self {
        let digest = Sha256::digest(parameters.as_bytes());
        let fingerprint = std::array::from_fn(|at| digest[at]);
        Self {
            key: key.into(),
            path: path.into(),
            fingerprint,
        }
    }
}

impl Store {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            saved: HashMap::new(),
            order: VecDeque::new(),
            in_flight: HashSet::new(),
            max: max.max(1),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.saved.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Saved> {
        self.order
            .iter()
            .filter_map(|(at, key)| self.saved.get(key).filter(|saved| saved.at == *at))
    }

    /// Begins a request under a key. A fresh one stays in flight until `end`.
    pub(crate) fn begin(&mut self, claim: &Claim, now: i64) -> Result<Begun, Error> {
        self.prune(now);
        if self.in_flight.contains(&claim.key) {
            let message = format!(
                "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): {}. Please try again later.",
                claim.key
            );
            return Err(Error::invalid(409, message)
                .kind("idempotency_error")
                .code("idempotency_key_in_use"));
        }
        let Some(saved) = self.saved.get(&claim.key) else {
            self.in_flight.insert(claim.key.clone());
            return Ok(Begun::Fresh);
        };
        let first = &saved.claim;
        let limit = if first.path != claim.path {
            format!(
                "for the same endpoint they were first used for ('{}' vs '{}')",
                first.path, claim.path
            )
        } else if first.fingerprint != claim.fingerprint {
            "with the same parameters they were first used with".to_owned()
        } else {
            return Ok(Begun::Replay(saved.clone()));
        };
        let message = format!(
            "Keys for idempotent requests can only be used {limit}. Try using a key other than '{}' if you meant to execute a different request.",
            claim.key
        );
        Err(Error::invalid(400, message).kind("idempotency_error"))
    }

    pub(crate) fn end(&mut self, key: &str) {
        self.in_flight.remove(key);
    }

    pub(crate) fn save(&mut self, saved: Saved) {
        while self.saved.len() >= self.max && self.drop_oldest() {}
        self.order.push_back((saved.at, saved.claim.key.clone()));
        self.saved.insert(saved.claim.key.clone(), saved);
    }

    pub(crate) fn forget(&mut self, key: &str) {
        self.saved.remove(key);
    }

    /// Forgets what is older than 24 hours at the second `now`.
    pub(crate) fn prune(&mut self, now: i64) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| *at + KEPT_SECONDS <= now)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((at, key)) = self.order.pop_front() else {
            return false;
        };
        // A key saved anew since then has a younger entry of its own in the order.
        if self.saved.get(&key).is_some_and(|saved| saved.at == at) {
            self.saved.remove(&key);
        }
        true
    }
}
