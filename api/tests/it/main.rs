//! The API over HTTP, on SQLite and on Postgres.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something missing is to fail there"
)]

mod attention;
mod auth;
mod batch;
mod browser;
mod changes;
mod client;
mod clock;
mod concurrency;
mod contract;
mod external_id;
mod idempotency;
mod list;
mod log;
mod original;
mod outage;
mod outbox;
mod problem;
mod random;
mod ready;
mod resource;
mod server;
mod spec;
mod status;
mod sync;
mod timeline;
mod webhook;
