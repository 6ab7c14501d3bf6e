//! Broker to Stripe, and back: the upsync pushes what the database holds, the downsync brings home what
//! was changed in Stripe.
//!
//! [`start`] is the one public way to run it; the steps below are public so that tests can call them.

pub mod budget;
pub mod config;
mod deliveries;
pub mod downsync;
pub mod engine;
mod frozen;
mod gauge;
mod lane;
pub mod measure;
pub mod observe;
pub mod outcome;
mod patience;
pub mod poison;
pub mod policy;
pub mod preview;
pub mod purge;
pub mod registry;
mod review;
pub mod stripe;
pub mod upsync;
mod worker;

pub use config::Config;
pub use gauge::{Gauge, Glance};
pub use lane::LaneState;
pub use worker::{Worker, start};
