//! The handle of a sandbox: opens it and lets a test act in it without HTTP.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::api::seam::Seam;
use crate::fault::{Armed, Fault};
use crate::options::Options;
use crate::sandbox::state::State;
use crate::sandbox::traffic::Request;
use crate::wire::error::Error;
use crate::wire::form::Form;
use crate::world::customer::change::Change;
use crate::world::customer::view;
use crate::world::event::EventView;
use crate::world::{Cause, load, lock};

/// A Stripe account of one's own; clones share it.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<State>);

impl Sandbox {
    /// Opens an account: an empty one, or the one that `options.file` keeps. Fails when that file can't be read.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        // Refused when the process has chosen its cryptography already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self(Arc::new(State::open(options)?)))
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Every customer that is not deleted, as Stripe's API shows it, newest first.
    #[must_use]
    pub fn customers(&self) -> Vec<Value> {
        lock(&self.0.world)
            .customers
            .iter()
            .map(|customer| view::json(customer, self.0.options.livemode))
            .collect()
    }

    /// One customer as the API shows it: a deleted one with `deleted: true`, None when there never was one.
    #[must_use]
    pub fn customer(&self, id: &str) -> Option<Value> {
        lock(&self.0.world)
            .customers
            .find(id)
            .map(|customer| view::json(customer, self.0.options.livemode))
    }

    /// How many customers are not deleted.
    #[must_use]
    pub fn customer_count(&self) -> usize {
        lock(&self.0.world).customers.live()
    }

    /// Every event that is kept, newest first.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let Options {
            api_version,
            livemode,
            ..
        } = &self.0.options;
        let view = |event| EventView {
            event,
            api_version,
            livemode: *livemode,
        };
        let mut events: Vec<Value> = lock(&self.0.world)
            .events
            .iter()
            .map(|event| serde_json::to_value(view(event)).unwrap_or_default())
            .collect();
        events.reverse();
        events
    }

    /// Creates a customer as a human in the dashboard does; `fields` are named as in the API, as `metadata[k]`.
    pub fn create_as_human(&self, fields: &[(&str, &str)]) -> Result<Value, Error> {
        let change = read(fields, true)?;
        let created = lock(&self.0.world).create_customer(change, self.by_human())?;
        self.0.wake.notify_one();
        Ok(view::json(&created, self.0.options.livemode))
    }

    /// Edits a customer as a human in the dashboard does; what is not named stays, an empty value clears.
    pub fn edit_as_human(&self, id: &str, fields: &[(&str, &str)]) -> Result<Value, Error> {
        let change = read(fields, false)?;
        let edited = lock(&self.0.world).update_customer(id, change, self.by_human())?;
        self.0.wake.notify_one();
        Ok(view::json(&edited, self.0.options.livemode))
    }

    /// Deletes a customer as a human in the dashboard does.
    pub fn delete_as_human(&self, id: &str) -> Result<(), Error> {
        lock(&self.0.world).delete_customer(id, self.by_human())?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Adds `customers` plausible customers as if they had always been there: no event, no webhook. They have
    /// distinct names and e-mails and were created in 2019 to 2025, some hundreds of them in one second; the
    /// same `seed` brings the same ones to an account with as many customers. Takes seconds for a million, and
    /// holds up the thread and, towards the end, requests. All of them are there when it returns, or none
    /// when it fails because the account's file can't be written.
    pub fn load(&self, customers: u64, seed: u64) -> Result<(), Error> {
        let known = lock(&self.0.world).customers.len() as u64;
        let made = load::make(customers, seed, known, self.0.options.clock.now());
        lock(&self.0.world).put_all(&self.0.options, made)
    }

    /// Replaces an endpoint's secret and gives the new one; the old one goes on signing for `keep_old`.
    pub fn roll_secret(&self, endpoint: &str, keep_old: Duration) -> Result<String, Error> {
        let now = self.0.options.clock.now().timestamp();
        let mut world = lock(&self.0.world);
        let mut rolled = world.endpoint(endpoint)?.clone();
        let secret = world.ids.secret();
        let until = now.saturating_add(i64::try_from(keep_old.as_secs()).unwrap_or(i64::MAX));
        rolled.roll(secret.clone(), now, until);
        world.put_endpoint(rolled)?;
        Ok(secret)
    }

    /// The latest requests to the API, oldest first (at most 200,000 are kept).
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests_since(0)
    }

    /// The kept requests after the one numbered `seq`, oldest first.
    #[must_use]
    pub fn requests_since(&self, seq: u64) -> Vec<Request> {
        self.0.traffic.since(seq, usize::MAX)
    }

    pub fn clear_requests(&self) {
        self.0.traffic.clear();
    }

    /// Arms a fault and gives its number.
    pub fn inject(&self, fault: Fault) -> u64 {
        let id = self.0.faults.arm(fault);
        self.hold_event_time();
        id
    }

    /// The faults that were injected and not cleared, used up ones included, with how often each struck.
    #[must_use]
    pub fn faults(&self) -> Vec<Armed> {
        self.0.faults.armed()
    }

    /// Disarms one fault; false when there is none of that number.
    pub fn remove_fault(&self, id: u64) -> bool {
        let removed = self.0.faults.disarm(id);
        self.hold_event_time();
        removed
    }

    /// How many requests are on their way for longer than their clients wait.
    #[must_use]
    pub fn late_count(&self) -> usize {
        self.0.late().len()
    }

    /// Lets the oldest of them arrive: it is carried out as if it had been sent now. Says what it was, as
    /// method and path; None when there is none.
    pub async fn deliver_late(&self) -> Option<String> {
        let call = self.0.late().pop_front()?;
        self.0.api().answer(&call, &Seam::default()).await;
        self.0.wake.notify_one();
        Some(format!("{} {}", call.method, call.path))
    }

    /// Loses the requests that are on their way.
    pub fn forget_late(&self) {
        self.0.late().clear();
    }

    pub fn clear_faults(&self) {
        self.0.faults.clear();
        self.hold_event_time();
    }

    fn hold_event_time(&self) {
        let mut world = lock(&self.0.world);
        let now = self.0.options.clock.now().timestamp();
        let held = self.0.faults.holds_event_time();
        world.event_second = held.then(|| world.event_second.unwrap_or(now));
    }

    fn by_human(&self) -> Cause {
        Cause {
            now: self.0.options.clock.now(),
            request: None,
            claim: None,
        }
    }
}

fn read(fields: &[(&str, &str)], creating: bool) -> Result<Change, Error> {
    let mut form = Form::from_pairs(fields.iter().copied());
    let change = Change::take(&mut form, creating)?;
    form.finish()?;
    Ok(change)
}
