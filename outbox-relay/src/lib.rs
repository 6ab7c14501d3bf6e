//! Outbox to broker: reads the rows of the outbox in order, publishes them, and deletes each one
//! after its own confirm.
//!
//! Every event reaches the broker at least once, and no rev of a customer goes out before an
//! earlier one of the same customer is confirmed or on its way on the same channel. One relay is
//! active at a time, by a lease; the others stand by.

use std::time::Duration;

use clap::Args;
use platform::broker::Broker;
use platform::clock::Clock;
use platform::config;
use platform::database::Database;
use platform::health::{Component, Health};
use platform::steps::Steps;
use platform::wake::Wake;

mod active;
mod backlog;
mod heartbeat;
mod pace;
mod publish;
mod read;
mod run;
mod settle;
mod standby;

pub use active::{Active, Counts, Error};
pub use run::run;
pub use standby::Term;

/// The name of the lease that the active relay holds.
pub const LEASE: &str = "outbox-relay";

/// What a relay works with.
#[derive(Clone)]
pub struct Relay {
    pub db: Database,
    pub broker: Broker,
    pub clock: Clock,
    /// Woken when a row was written.
    pub wake: Wake,
    pub health: Components,
    pub options: Options,
    /// Where the steps can be held up by a test.
    pub steps: Steps,
}

/// How a relay paces itself.
#[derive(Args, Clone, Debug)]
#[group(id = "outbox_relay")]
pub struct Options {
    // What is in flight is published twice when the connection is lost.
    /// How many events may wait for their confirms
    #[arg(
        long = "relay-window",
        env = "RELAY_WINDOW",
        default_value_t = Self::WINDOW,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=10_000),
    )]
    pub window: u16,

    /// How often the outbox is looked at when nobody says that there is something
    #[arg(
        long = "relay-poll",
        env = "RELAY_POLL",
        default_value = "1s",
        value_name = "DURATION",
        value_parser = config::duration_between(Self::SHORTEST_POLL, Self::LONGEST_POLL),
    )]
    pub poll: Duration,

    /// How long the lease lasts without being renewed: how long the others wait when a relay dies.
    #[arg(skip = Self::LEASE_TTL)]
    pub lease_ttl: Duration,
}

impl Options {
    const WINDOW: u16 = 1_000;
    const LEASE_TTL: Duration = Duration::from_secs(10);
    const SHORTEST_POLL: Duration = Duration::from_millis(10);
    const LONGEST_POLL: Duration = Duration::from_secs(3600);
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: Self::WINDOW,
            poll: Duration::from_secs(1),
            lease_ttl: Self::LEASE_TTL,
        }
    }
}

impl Relay {
    /// How many rows to read at a time.
    fn window(&self) -> u16 {
        // Inside the process a confirm is the worker's ack: a large window would only be acked late
        // and settled late.
        const IN_PROCESS: u16 = 100;
        match self.broker {
            Broker::InProcess(_) => self.options.window.min(IN_PROCESS),
            Broker::RabbitMq(_) => self.options.window,
        }
    }
}

/// What a relay says about itself.
#[derive(Clone, Debug)]
pub struct Components {
    /// The loop; standby while another relay holds the lease.
    pub relay: Component,
    pub broker: Component,
    pub database: Component,
    heartbeat: Component,
    /// All of them, as the heartbeats record them.
    section: Health,
}

impl Components {
    pub fn new(health: &Health) -> Self {
        // Longer than the slowest single step, which is to wait for a confirm in vain (30 s).
        let stalled_after = Duration::from_secs(60);
        let section = health.section();
        Self {
            relay: section.component("relay", stalled_after),
            broker: section.component("relay broker", stalled_after),
            database: section.component("relay database", stalled_after),
            heartbeat: section.component("relay heartbeat", stalled_after),
            section,
        }
    }
}
