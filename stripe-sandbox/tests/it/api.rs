//! Stripe's API.

mod access;
mod customers;
mod idempotency;
mod lists;
mod typed;
