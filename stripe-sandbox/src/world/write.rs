//! What requests and people do to the customers of an account.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::account::{Cause, World};
use super::customer::Customer;
use super::customer::change::Change;
use super::customer::view;
use super::event::{Event, Head, Kind};
use super::journal::entry::Entry;
use crate::wire::error::Error;

impl World {
    pub(crate) fn create_customer(
        &mut self,
        change: Change,
        cause: Cause,
    ) -> Result<Arc<Customer>, Error> {
        let customer = self.new_customer(change, cause.now)?;
        let entry = Entry {
            customer: Some(customer.clone()),
            ..Entry::default()
        };
        self.commit_with_event(entry, Kind::Created, None, cause)?;
        Ok(customer)
    }

    pub(crate) fn update_customer(
        &mut self,
        id: &str,
        change: Change,
        cause: Cause,
    ) -> Result<Arc<Customer>, Error> {
        let old = self.living(id)?;
        let mut customer = Customer::clone(&old);
        change.apply(&mut customer)?;
        let previous = view::previous_attributes(&old, &customer);
        if previous.is_none() && !self.noop_update_emits {
            let mut entry = Entry {
                shown: Some(old.clone()),
                ..Entry::default()
            };
            if let (Some(claim), Some(request)) = (cause.claim, cause.request) {
                entry = entry.with_saved(claim, cause.now.timestamp(), request);
                self.commit(entry)?;
            }
            return Ok(old);
        }
        customer.changed_ms = cause.now.timestamp_millis();
        let customer = Arc::new(customer);
        let entry = Entry {
            customer: Some(customer.clone()),
            ..Entry::default()
        };
        let previous = previous
            .unwrap_or_else(|| serde_json::json!({}))
            .to_string();
        self.commit_with_event(entry, Kind::Updated, Some(previous.into()), cause)?;
        Ok(customer)
    }

    pub(crate) fn delete_customer(
        &mut self,
        id: &str,
        cause: Cause,
    ) -> Result<Arc<Customer>, Error> {
        let old = self.living(id)?;
        let tombstone = Arc::new(old.tombstone(cause.now.timestamp_millis()));
        let entry = Entry {
            customer: Some(tombstone.clone()),
            shown: Some(old),
            ..Entry::default()
        };
        self.commit_with_event(entry, Kind::Deleted, None, cause)?;
        Ok(tombstone)
    }

    fn new_customer(&mut self, change: Change, now: DateTime<Utc>) -> Result<Arc<Customer>, Error> {
        let id = loop {
            let id = self.ids.draw();
            if self.customers.get(id).is_none() {
                break id;
            }
        };
        // Never before an older one: lists are sorted by creation, whatever the clock does.
        let created = now.timestamp().max(self.customers.newest_created());
        let mut customer = Customer::new(id, created, now.timestamp_millis());
        change.apply(&mut customer)?;
        Ok(Arc::new(customer))
    }

    fn commit_with_event(
        &mut self,
        mut entry: Entry,
        kind: Kind,
        previous: Option<Box<str>>,
        cause: Cause,
    ) -> Result<(), Error> {
        let now = cause.now.timestamp();
        let id = loop {
            let id = self.ids.draw();
            if !self.events.contains(id) {
                break id;
            }
        };
        let pending = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.wants(kind.name()))
            .count();
        entry.event = Some(Head {
            id,
            created: self.events.dated(self.event_second.unwrap_or(now)),
            kind,
            previous,
            request: cause.request,
            idempotency_key: cause.claim.as_ref().map(|claim| claim.key.as_ref().into()),
            pending: u32::try_from(pending).unwrap_or(u32::MAX),
        });
        if let (Some(claim), Some(request)) = (cause.claim, cause.request) {
            entry = entry.with_saved(claim, now, request);
        }
        let sent = entry.shown().cloned().zip(entry.event.clone());
        self.commit(entry)?;
        if let Some((object, head)) = sent.filter(|_| pending > 0) {
            self.send(&Event { head, object });
        }
        Ok(())
    }

    fn living(&self, id: &str) -> Result<Arc<Customer>, Error> {
        let found = self.customers.find(id).filter(|customer| !customer.deleted);
        found.cloned().ok_or_else(|| Error::no_such("customer", id))
    }
}
