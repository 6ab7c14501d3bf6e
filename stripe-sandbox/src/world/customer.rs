//! Customers: what is kept of one, how requests change it, how it is shown, found and listed.

pub(crate) mod change;
mod record;
pub(crate) mod search;
pub(crate) mod store;
pub(crate) mod view;

pub(crate) use self::record::{Customer, Id, PREFIX};
