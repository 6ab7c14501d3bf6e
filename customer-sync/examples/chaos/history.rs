//! What was done and what came of it: the record that the checker judges the end by.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use entity::fields::{Field, Fields};
use uuid::Uuid;

use crate::evidence::Restore;

/// Microseconds since the epoch; all programs of a run share the machine's clock.
pub(crate) type Time = u64;

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A client of the API.
    Client,
    /// A person on Stripe's dashboard.
    Person,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Edit,
    Delete,
}

/// One operation, with all its repetitions.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) actor: Actor,
    pub(crate) kind: Kind,
    pub(crate) start: Time,
    pub(crate) end: Time,
    /// The row; of a create only when it was answered.
    pub(crate) customer: Option<Uuid>,
    /// What a person edited.
    pub(crate) stripe_id: Option<String>,
    pub(crate) sent: Vec<(Field, String)>,
    pub(crate) if_match: Option<i64>,
    pub(crate) outcome: Outcome,
    /// The ids that the answers to the same Idempotency-Key named.
    pub(crate) named: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The state that the answer showed; a person's page shows none.
    Acked(Option<State>),
    /// Surely not done.
    Refused,
    /// Done or not.
    Unknown,
}

/// A row at one rev.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) id: Uuid,
    pub(crate) rev: i64,
    pub(crate) deleted: bool,
    pub(crate) fields: Fields,
}

impl Op {
    pub(crate) fn is_acked(&self) -> bool {
        matches!(self.outcome, Outcome::Acked(_))
    }

    pub(crate) fn state(&self) -> Option<&State> {
        match &self.outcome {
            Outcome::Acked(state) => state.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn state_mut(&mut self) -> Option<&mut State> {
        match &mut self.outcome {
            Outcome::Acked(state) => state.as_mut(),
            _ => None,
        }
    }

    pub(crate) fn sent(&self, field: Field) -> Option<&str> {
        let sent = self.sent.iter().find(|(other, _)| *other == field);
        sent.map(|(_, value)| value.as_str())
    }
}

/// Something that was broken on purpose, from when to when.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: &'static str,
    /// Whom it can keep from writing down what Stripe has answered.
    pub(crate) harms_worker: bool,
    pub(crate) start: Time,
    pub(crate) end: Time,
}

#[derive(Default)]
pub(crate) struct History {
    ops: Mutex<Vec<Op>>,
    faults: Mutex<Vec<Fault>>,
    restores: Mutex<Vec<Restore>>,
}

impl History {
    pub(crate) fn add(&self, op: Op) {
        lock(&self.ops).push(op);
    }

    pub(crate) fn add_fault(&self, fault: Fault) {
        lock(&self.faults).push(fault);
    }

    pub(crate) fn add_restore(&self, restore: Restore) {
        lock(&self.restores).push(restore);
    }

    pub(crate) fn restores(&self) -> usize {
        lock(&self.restores).len()
    }

    /// All of it, once nobody adds any more.
    pub(crate) fn take(&self) -> (Vec<Op>, Vec<Fault>, Vec<Restore>) {
        (
            std::mem::take(&mut *lock(&self.ops)),
            std::mem::take(&mut *lock(&self.faults)),
            std::mem::take(&mut *lock(&self.restores)),
        )
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
