//! The state of an account. Every change goes through `commit`: first the journal, then the memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::customer::store::Store;
use super::endpoint::{self, Endpoint};
use super::event::{self, Event, EventView, Kind, RequestId};
use super::id::Ids;
use super::idempotency::{self, Claim, Saved};
use super::journal::Journal;
use super::journal::entry::Entry;
use crate::options::Options;
use crate::wire::error::Error;

/// Entries that a file may hold beyond what its account needs before it is rewritten at the start.
const SLACK: usize = 1000;

pub(crate) struct World {
    pub(crate) customers: Store,
    pub(crate) events: event::log::Log,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) keys: idempotency::Store,
    pub(crate) ids: Ids,
    /// While set, every event is dated by it.
    pub(crate) event_second: Option<i64>,
    /// What is to be sent to endpoints; the delivery loop takes it away.
    outgoing: VecDeque<Outgoing>,
    pub(super) journal: Option<Journal>,
    max_outgoing: usize,
    pub(crate) noop_update_emits: bool,
    api_version: String,
    livemode: bool,
}

/// One event for one endpoint.
pub(crate) struct Outgoing {
    pub(crate) endpoint: endpoint::Id,
    pub(crate) event: event::Id,
    pub(crate) kind: Kind,
    pub(crate) body: Arc<str>,
}

/// Locks an account. A panic under the lock leaves no half-made change, so a poisoned lock is taken all the same.
pub(crate) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who makes a change, and when.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) now: DateTime<Utc>,
    /// None for a human in the dashboard.
    pub(crate) request: Option<RequestId>,
    pub(crate) claim: Option<Claim>,
}

impl World {
    /// An empty account in memory.
    pub(crate) fn empty(options: &Options) -> Self {
        Self {
            customers: Store::default(),
            events: event::log::Log::new(options.max_events),
            endpoints: Vec::new(),
            keys: idempotency::Store::new(options.max_idempotency_keys),
            ids: Ids::new(options.seed, 0),
            event_second: None,
            outgoing: VecDeque::new(),
            journal: None,
            max_outgoing: options.max_deliveries,
            noop_update_emits: options.noop_update_emits,
            api_version: options.api_version.clone(),
            livemode: options.livemode,
        }
    }

    /// The account that `options.file` keeps, an empty one when there is no file yet or none is to be kept.
    pub(crate) fn open(options: &Options) -> anyhow::Result<Self> {
        let mut world = Self::empty(options);
        let Some(path) = &options.file else {
            return Ok(world);
        };
        let (mut journal, count) =
            Journal::open(path, &options.account_id, |entry| world.apply(entry))?;
        let now = options.clock.now().timestamp();
        world.events.prune(now);
        world.keys.prune(now);
        world.ids = Ids::new(options.seed, count as u64);
        let needed = world.entries().count();
        if count > 2 * needed + SLACK {
            journal
                .rewrite(&options.account_id, world.entries())
                .context("compacting the sandbox file")?;
        }
        world.journal = Some(journal);
        Ok(world)
    }

    pub(crate) fn put_endpoint(&mut self, endpoint: Endpoint) -> Result<(), Error> {
        self.commit(Entry {
            endpoint: Some(endpoint),
            ..Entry::default()
        })
    }

    pub(crate) fn remove_endpoint(&mut self, id: endpoint::Id) -> Result<(), Error> {
        self.commit(Entry {
            endpoint_removed: Some(id),
            ..Entry::default()
        })
    }

    pub(crate) fn endpoint(&self, id: &str) -> Result<&Endpoint, Error> {
        let found = endpoint::Id::parse(endpoint::PREFIX, id)
            .and_then(|id| self.endpoints.iter().find(|endpoint| endpoint.id == id));
        found.ok_or_else(|| Error::no_such("webhook endpoint", id))
    }

    pub(crate) fn save(&mut self, saved: &Saved) -> Result<(), Error> {
        self.commit(Entry::of_saved(saved))
    }

    pub(crate) fn forget_key(&mut self, key: Arc<str>) -> Result<(), Error> {
        self.commit(Entry {
            key_forgotten: Some(key),
            ..Entry::default()
        })
    }

    pub(crate) fn take_outgoing(&mut self) -> VecDeque<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    pub(crate) fn send(&mut self, event: &Event) {
        let view = EventView {
            event,
            api_version: &self.api_version,
            livemode: self.livemode,
        };
        let body: Arc<str> = serde_json::to_string_pretty(&view)
            .unwrap_or_default()
            .into();
        for endpoint in self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.wants(event.head.kind.name()))
        {
            if self.outgoing.len() >= self.max_outgoing {
                tracing::warn!(endpoint.id = %endpoint.id, "too many webhook deliveries wait; one is dropped");
                continue;
            }
            let (event, kind) = (event.head.id, event.head.kind);
            self.outgoing.push_back(Outgoing {
                endpoint: endpoint.id,
                event,
                kind,
                body: body.clone(),
            });
        }
    }

    pub(crate) fn commit(&mut self, entry: Entry) -> Result<(), Error> {
        if let Some(journal) = &mut self.journal {
            journal.append(&entry).map_err(|error| {
                Error::internal(format!("the sandbox file can't be written: {error}"))
            })?;
        }
        self.apply(entry);
        Ok(())
    }

    fn apply(&mut self, mut entry: Entry) {
        if let Some(event) = entry.take_event() {
            self.events.push(event);
        }
        if let Some(saved) = entry.take_saved() {
            self.keys.save(saved);
        }
        if let Some(customer) = entry.customer {
            self.customers.put(customer);
        }
        if let Some(endpoint) = entry.endpoint {
            match self
                .endpoints
                .iter_mut()
                .find(|known| known.id == endpoint.id)
            {
                Some(known) => *known = endpoint,
                None => self.endpoints.push(endpoint),
            }
        }
        if let Some(id) = entry.endpoint_removed {
            self.endpoints.retain(|endpoint| endpoint.id != id);
        }
        if let Some(key) = entry.key_forgotten {
            self.keys.forget(&key);
        }
    }

    /// The fewest entries that lead to this state.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let customers = self.customers.all().map(|customer| Entry {
            customer: Some(customer.clone()),
            ..Entry::default()
        });
        let endpoints = self.endpoints.iter().map(|endpoint| Entry {
            endpoint: Some(endpoint.clone()),
            ..Entry::default()
        });
        let events = self.events.iter().map(Entry::of_event);
        let saved = self.keys.iter().map(Entry::of_saved);
        customers.chain(endpoints).chain(events).chain(saved)
    }
}
