//! The migrations, on SQLite and on Postgres.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something missing is to fail there"
)]

mod decisions;
