//! What is broken on purpose, and when: decks of every kind of fault, shuffled by the seed, dealt again and
//! again.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::history::{Fault, History, now};
use crate::system::{Server, System};

mod clock;
mod disk;
mod restore;
mod strike;

pub(crate) use strike::mend_broker;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KillApi,
    KillRelay,
    KillWorker,
    Cut(Server),
    HalfOpen(Server),
    Slow(Server),
    RestartPostgres,
    CrashPostgres,
    ReadOnlyPostgres,
    RestartRabbitMq,
    CrashRabbitMq,
    QueueFull,
    DropHead,
    MessageTtl,
    QueueDeleted,
    QueuePurged,
    MemoryAlarm,
    StepClock,
    FullDisk,
    RestoreDump,
    Stripe(usize),
}

/// What Stripe does wrong, a few at a time.
const STRIPE: [&[(&str, &str)]; 7] = [
    &[
        ("POST /v1/customers", "reset_after_effect"),
        ("POST /v1/customers/{id}", "reset_after_effect"),
        ("DELETE /v1/customers/{id}", "reset_after_effect"),
    ],
    &[
        ("POST /v1/customers", "error_after_effect"),
        ("POST /v1/customers/{id}", "error_before_effect"),
        ("GET /v1/events", "gateway_error_before_effect"),
    ],
    &[
        ("POST /v1/customers", "truncated_body"),
        ("POST /v1/customers/{id}", "gateway_error_after_effect"),
        ("GET /v1/customers/{id}", "empty_body"),
    ],
    &[
        ("POST /v1/customers/{id}", "rate_limited"),
        ("POST /v1/customers", "lock_timeout"),
        ("GET /v1/customers", "lost_item"),
    ],
    &[
        ("POST /v1/customers", "latency_after_effect"),
        ("POST /v1/customers/{id}", "latency_before_effect"),
        ("GET /v1/events", "duplicate_item"),
    ],
    &[
        ("POST /v1/customers", "mismatched_response"),
        ("POST /v1/customers/{id}", "mismatched_response"),
        ("GET /v1/customers/{id}", "mismatched_response"),
    ],
    &[("*", "other_mode_key")],
];

/// What strikes a server as a whole.
fn servers() -> Vec<Kind> {
    vec![
        Kind::RestartPostgres,
        Kind::CrashPostgres,
        Kind::ReadOnlyPostgres,
        Kind::RestartRabbitMq,
        Kind::CrashRabbitMq,
        Kind::QueueFull,
        Kind::DropHead,
        Kind::MessageTtl,
        Kind::QueueDeleted,
        Kind::QueuePurged,
        Kind::MemoryAlarm,
        Kind::StepClock,
        Kind::FullDisk,
        Kind::RestoreDump,
    ]
}

/// What strikes a process or a link, and what Stripe does wrong.
fn others() -> Vec<Kind> {
    let mut deck = vec![Kind::KillApi, Kind::KillRelay, Kind::KillWorker];
    for server in [Server::Postgres, Server::RabbitMq, Server::Stripe] {
        deck.extend([
            Kind::Cut(server),
            Kind::HalfOpen(server),
            Kind::Slow(server),
        ]);
    }
    deck.extend((0..STRIPE.len()).map(Kind::Stripe));
    deck
}

/// Breaks one server after another until `stop`, and one thing after another between them meanwhile; leaves
/// everything whole.
///
/// # Errors
/// A server does not come back.
pub(crate) async fn run(
    system: Arc<Mutex<System>>,
    history: Arc<History>,
    seed: u64,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let dealer = |deck, number| Dealer {
        system: Arc::clone(&system),
        history: Arc::clone(&history),
        deck,
        random: SmallRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number)),
    };
    tokio::try_join!(
        dealer(servers(), 900).deal(&stop),
        dealer(others(), 901).deal(&stop),
    )?;
    Ok(())
}

struct Dealer {
    system: Arc<Mutex<System>>,
    history: Arc<History>,
    deck: Vec<Kind>,
    random: SmallRng,
}

impl Dealer {
    async fn deal(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        loop {
            let mut deck = self.deck.clone();
            deck.shuffle(&mut self.random);
            for kind in deck {
                if stop.is_cancelled() {
                    return Ok(());
                }
                self.strike(kind, stop).await?;
            }
        }
    }

    async fn strike(&mut self, kind: Kind, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut time = |from, to| Duration::from_millis(self.random.random_range(from..to));
        let (lasting, rest) = (time(500, 6_000), time(200, 1_500));
        let which = self.random.random_range(0..100);
        let strike = strike::Strike {
            kind,
            which,
            lasting,
        };
        let start = now();
        strike.run((&self.system, &self.history), stop).await?;
        self.history.add_fault(Fault {
            kind: kind.name(),
            harms_worker: kind.harms_worker(),
            start,
            end: now(),
        });
        pause(rest, stop).await;
        Ok(())
    }
}

/// Sleeps, but no longer than until it is time to stop.
async fn pause(time: Duration, stop: &CancellationToken) {
    let _ = tokio::time::timeout(time, stop.cancelled()).await;
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::KillApi => "kill -9 of an api",
            Self::KillRelay => "kill -9 of a relay",
            Self::KillWorker => "kill -9 of a worker",
            Self::Cut(Server::Postgres) => "cut link to PostgreSQL",
            Self::Cut(Server::RabbitMq) => "cut link to RabbitMQ",
            Self::Cut(Server::Stripe) => "cut link to Stripe",
            Self::HalfOpen(Server::Postgres) => "half-open link to PostgreSQL",
            Self::HalfOpen(Server::RabbitMq) => "half-open link to RabbitMQ",
            Self::HalfOpen(Server::Stripe) => "half-open link to Stripe",
            Self::Slow(Server::Postgres) => "slow link to PostgreSQL",
            Self::Slow(Server::RabbitMq) => "slow link to RabbitMQ",
            Self::Slow(Server::Stripe) => "slow link to Stripe",
            Self::RestartPostgres => "restart of PostgreSQL",
            Self::CrashPostgres => "crash of PostgreSQL",
            Self::ReadOnlyPostgres => "read-only sessions of PostgreSQL",
            Self::RestartRabbitMq => "stop and start of RabbitMQ",
            Self::CrashRabbitMq => "kill -9 of RabbitMQ",
            Self::QueueFull => "full queue",
            Self::DropHead => "policy that drops the oldest messages",
            Self::MessageTtl => "policy that lets messages expire",
            Self::QueueDeleted => "deleted queue",
            Self::QueuePurged => "purged queue",
            Self::MemoryAlarm => "memory alarm of RabbitMQ",
            Self::StepClock => "step of PostgreSQL's clock",
            Self::FullDisk => "full disk of PostgreSQL",
            Self::RestoreDump => "restore of PostgreSQL from a dump",
            Self::Stripe(_) => "faults of Stripe",
        }
    }

    /// Whether it can come between an answer of Stripe's and what the worker makes of it.
    fn harms_worker(self) -> bool {
        match self {
            Self::KillWorker
            | Self::RestartPostgres
            | Self::CrashPostgres
            | Self::ReadOnlyPostgres
            | Self::StepClock
            | Self::FullDisk
            | Self::RestoreDump
            | Self::Stripe(_) => true,
            Self::Cut(server) | Self::HalfOpen(server) | Self::Slow(server) => {
                server != Server::RabbitMq
            }
            _ => false,
        }
    }
}
