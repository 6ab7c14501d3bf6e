//! The sandbox as its clients meet it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should stop there"
)]

mod api;
mod events;
mod faults;
mod load;
mod page;
mod process;
mod support;
mod webhooks;
