//! What all parts of a running sandbox share.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::api::call::Call;
use crate::api::limit::Limiter;
use crate::fault::Faults;
use crate::fault::other::Other;
use crate::options::Options;
use crate::sandbox::traffic::Traffic;
use crate::world::World;

/// Requests that are on their way at most.
const LATE_MAX: usize = 1000;

pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) world: Mutex<World>,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) traffic: Traffic,
    pub(crate) faults: Faults,
    /// The account that answers in place of this one under a fault; made when it is first needed.
    pub(crate) other: OnceLock<Other>,
    /// The other mode of this account, in the same way.
    pub(crate) other_mode: OnceLock<Other>,
    /// Requests that are on their way for longer than their clients wait, oldest first.
    late: Mutex<VecDeque<Call>>,
    /// Says that the account has webhooks to send.
    pub(crate) wake: Notify,
    /// Requests in progress: they take their effect even when their client goes away.
    pub(crate) requests: TaskTracker,
}

impl State {
    pub(crate) fn open(options: Options) -> anyhow::Result<Self> {
        let world = World::open(&options)?;
        let limiter = options.requests_per_second.map(Limiter::new);
        let faults = Faults::new(options.seed);
        Ok(Self {
            options,
            world: Mutex::new(world),
            limiter,
            traffic: Traffic::default(),
            faults,
            other: OnceLock::new(),
            other_mode: OnceLock::new(),
            late: Mutex::default(),
            wake: Notify::new(),
            requests: TaskTracker::new(),
        })
    }

    pub(crate) fn late(&self) -> MutexGuard<'_, VecDeque<Call>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request for later; the oldest of too many is lost.
    pub(crate) fn delay(&self, call: Call) {
        let mut late = self.late();
        if late.len() == LATE_MAX {
            late.pop_front();
        }
        late.push_back(call);
    }

    /// The honest API of this account.
    pub(crate) fn api(&self) -> Api<'_> {
        Api {
            world: &self.world,
            options: &self.options,
            limiter: self.limiter.as_ref(),
        }
    }
}
