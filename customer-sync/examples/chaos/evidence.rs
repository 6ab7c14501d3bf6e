//! What is there at the end, on both sides and in between: everything that the checker knows but the
//! operations themselves.

use std::collections::HashSet;

use entity::fields::Fields;
use serde::Deserialize;
use uuid::Uuid;

use crate::history::{Fault, Op, State, Time};

pub(crate) mod database;
pub(crate) mod epochs;
pub(crate) mod stripe;
pub(crate) mod tap;

#[derive(Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) ops: Vec<Op>,
    pub(crate) faults: Vec<Fault>,
    /// In the order of time.
    pub(crate) restores: Vec<Restore>,
    pub(crate) rows: Vec<Row>,
    pub(crate) conflicts: Vec<Conflict>,
    /// The customers in Stripe that wait for a person because they belong to no row.
    pub(crate) unmatched: HashSet<String>,
    /// The changes of applications that a consumer of its own received, in that order.
    pub(crate) told: Vec<State>,
    /// The customer and rev of every change that it received, in that order.
    pub(crate) heard: Vec<(Uuid, i64)>,
    /// The living customers in Stripe.
    pub(crate) copies: Vec<Copy>,
    /// Everything that happened in Stripe, oldest first.
    pub(crate) events: Vec<Event>,
    pub(crate) requests: Vec<Request>,
}

/// The database was replaced by what a dump of it held.
#[derive(Clone, Debug)]
pub(crate) struct Restore {
    /// When the dump began.
    pub(crate) dumped: Time,
    /// When the database was back, and no process had started yet.
    pub(crate) restored: Time,
    /// The customers of the dump.
    pub(crate) rows: Vec<State>,
    /// What was written down until every process had ended, the lost part included.
    pub(crate) conflicts: Vec<Conflict>,
    /// Of the events that were published until then.
    pub(crate) source: Option<Uuid>,
    /// The requests to Stripe that it has forgotten; worked out by the checker.
    pub(crate) forgotten: HashSet<String>,
}

/// A row of ours, tombstones included, with its link.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) stripe_id: Option<String>,
    /// A person has to look, and can see why.
    pub(crate) parked: bool,
}

/// A clash that was written down.
#[derive(Clone, Debug)]
pub(crate) struct Conflict {
    pub(crate) customer: Uuid,
    pub(crate) field: String,
    pub(crate) stripe_value: Option<String>,
}

/// A customer of Stripe's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) stripe_id: String,
    pub(crate) customer: Option<Uuid>,
    pub(crate) fields: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Created,
    Updated,
    Deleted,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) happened: Happened,
    /// The customer as it was then.
    pub(crate) copy: Copy,
    /// The request that made it; none for a person's.
    pub(crate) request: Option<String>,
    pub(crate) key: Option<String>,
}

/// A request that the sandbox has seen.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Request {
    pub(crate) seq: u64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: Option<u16>,
    pub(crate) request_id: String,
    pub(crate) received_at_us: Time,
    pub(crate) answered_at_us: Option<Time>,
    pub(crate) parameters: Option<String>,
    pub(crate) fault: Option<String>,
}
