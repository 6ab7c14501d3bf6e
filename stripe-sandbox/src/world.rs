//! One account and everything in it: customers, events, webhook endpoints, saved answers.

mod account;
pub(crate) mod customer;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod id;
pub(crate) mod idempotency;
mod journal;
pub(crate) mod load;
mod write;

pub(crate) use self::account::{Cause, Outgoing, World, lock};
