//! Fills an account with customers that, as it seems, have always been there: no events, no webhooks.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::account::World;
use super::customer::Customer;
use super::id::Ids;
use crate::options::Options;
use crate::sample::{self, Sample};
use crate::wire::error::Error;

/// How often a load says how far it is.
const REPORT: u64 = 100_000;

/// Makes `count` customers, oldest first. `known` customers are there already: they number the new ones, so
/// that a second load brings other people. None is created after `now`.
pub(crate) fn make(count: u64, seed: u64, known: u64, now: DateTime<Utc>) -> Vec<Arc<Customer>> {
    // From the far end, because an account that is opened with the same seed counts from the near one.
    let mut ids = Ids::new(Some(seed), u64::MAX - known);
    let made = (0..count).map(|at| {
        if at > 0 && at.is_multiple_of(REPORT) {
            tracing::info!("{at} of {count} customers are made");
        }
        let Sample {
            name,
            email,
            phone,
            description,
        } = sample::customer(seed, known + at);
        let created = sample::created(at, count).min(now.timestamp());
        let mut customer = Customer::new(ids.draw(), created, created.saturating_mul(1000));
        customer.name = Some(name.into());
        customer.email = Some(email.into());
        customer.phone = phone.map(Into::into);
        customer.description = description.map(Into::into);
        Arc::new(customer)
    });
    made.collect()
}

impl World {
    /// Puts customers, oldest first, among those that are there. All of them, or none when the file of
    /// `options` can't be written: it is written anew, because a list is in the order of creation.
    pub(crate) fn put_all(
        &mut self,
        options: &Options,
        customers: Vec<Arc<Customer>>,
    ) -> Result<(), Error> {
        let has = |it: &Arc<Customer>| self.customers.get(it.id).is_some();
        if customers.iter().any(has) {
            let message = "Another load has just brought these customers.";
            return Err(Error::invalid(409, message));
        }
        let merged = self.customers.merged(customers);
        let before = std::mem::replace(&mut self.customers, merged);
        let Some(mut journal) = self.journal.take() else {
            return Ok(());
        };
        let written = journal.rewrite(&options.account_id, self.entries());
        self.journal = Some(journal);
        written.map_err(|error| {
            self.customers = before;
            Error::internal(format!("{error:#}"))
        })
    }
}
