//! The tests that need a server.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something missing is to fail there"
)]

mod budget;
mod clock;
mod decision;
mod downsync;
mod harness;
mod measure;
mod migration;
mod mode;
mod panic;
mod poison;
mod preview;
mod purge;
mod registry;
mod restore;
mod review;
mod storm;
mod stripe_client;
mod stripe_faults;
mod stripe_server;
mod stripe_story;
mod upsync;
mod worker;
