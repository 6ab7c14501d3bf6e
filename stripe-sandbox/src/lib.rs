//! A Stripe to develop and test against: customers, events and webhooks of one test account, spoken over
//! HTTP closely enough that Stripe's own SDKs can't tell, with faults on request. Not a payment system.

mod api;
pub mod fault;
mod options;
mod sample;
mod sandbox;
mod server;
mod wire;
mod world;

pub use fault::Fault;
pub use options::Options;
pub use options::clock::Clock;
pub use sandbox::handle::Sandbox;
pub use sandbox::traffic::Request;
pub use server::running::{Running, start};
pub use wire::error::Error;
