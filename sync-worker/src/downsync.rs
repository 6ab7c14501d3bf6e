//! From Stripe: what differs there is found, and brought home unless ours is newer.
//!
//! scan (webhook inbox, events, full pass) → diff against the base → a drift message → apply.

pub mod account;
pub mod apply;
pub mod consume;
pub mod diff;
pub(crate) mod duplicate;
pub mod events;
mod fence;
mod import;
pub mod inbox;
pub mod pace;
pub mod pass;
pub mod publish;
pub mod recheck;
mod replaced;
pub mod ring;
pub mod scan;
pub mod state;
mod unlinked;
