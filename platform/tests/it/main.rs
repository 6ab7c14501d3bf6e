//! What the crate promises, shown against real servers: Postgres and RabbitMQ beside SQLite and the
//! broker inside the process.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod broker;
mod database;
mod http;
mod lease;
mod moment;
#[cfg(unix)]
mod pgbouncer;
mod postgres;
mod proxy;
mod session;
#[cfg(unix)]
mod signal;
mod wake;
