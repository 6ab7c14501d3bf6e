//! The programs as they run, driven from outside; and the rules of the tree.

#![allow(
    clippy::unwrap_used,
    reason = "a test that has nothing to unwrap has failed"
)]

mod admin;
mod all_in_one;
mod anomalies;
mod client;
mod command;
mod first_account;
mod guarantees;
mod journey;
mod model;
mod permissions;
mod process;
mod secret;
mod servers;
mod settings;
mod shutdown;
mod tidy;
mod webhook;
