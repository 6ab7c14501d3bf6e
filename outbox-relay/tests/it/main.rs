//! What the relay promises, shown on SQLite and Postgres, with the broker inside the process and
//! with RabbitMQ.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod heartbeat;
mod lease;
mod outage;
mod process;
mod run;
mod step;
mod support;
mod unroutable;
mod visibility;
