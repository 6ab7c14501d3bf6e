//! The load: clients of the API and people on Stripe's dashboard, on the same customers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::history::History;

mod answer;
mod client;
mod people;
mod subject;

pub(crate) use answer::state;
pub(crate) use subject::Subjects;

/// What everybody who makes load shares.
pub(crate) struct Load {
    pub(crate) history: Arc<History>,
    pub(crate) subjects: Arc<Subjects>,
    pub(crate) apis: Vec<String>,
    pub(crate) sandbox: String,
    pub(crate) http: Client,
    /// Makes every value that is ever written another one, so that a value names its operation.
    numbers: AtomicU64,
}

/// Those who write, side by side.
const CLIENTS: u64 = 24;
const PEOPLE: u64 = 4;
/// Longer than the API waits for its database.
const TIMEOUT: Duration = Duration::from_secs(12);

/// How much of it, in operations a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) clients: f64,
    pub(crate) people: f64,
}

impl Load {
    pub(crate) fn new(
        history: Arc<History>,
        apis: Vec<String>,
        sandbox: String,
    ) -> anyhow::Result<Self> {
        // The client wants one even for plain HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            history,
            subjects: Arc::default(),
            apis,
            sandbox,
            http,
            numbers: AtomicU64::new(1),
        })
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes load until `stop`; then every operation that has begun comes to its end.
    pub(crate) async fn run(self: Arc<Self>, seed: u64, rates: Rates, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            let pace = Pace::new(CLIENTS as f64 / rates.clients, stop.clone());
            let random = SmallRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number));
            tasks.spawn(Arc::clone(&self).client(number, random, pace));
        }
        for number in 0..PEOPLE {
            let pace = Pace::new(PEOPLE as f64 / rates.people, stop.clone());
            let seed = seed.wrapping_mul(1_000).wrapping_add(500 + number);
            tasks.spawn(Arc::clone(&self).person(SmallRng::seed_from_u64(seed), pace));
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn client(self: Arc<Self>, number: u64, mut random: SmallRng, mut pace: Pace) {
        while pace.next().await {
            let api = (number + random.random_range(0..2)) as usize % self.apis.len();
            client::act(&self, &self.apis[api], &mut random).await;
        }
    }

    async fn person(self: Arc<Self>, mut random: SmallRng, mut pace: Pace) {
        while pace.next().await {
            people::act(&self, &mut random).await;
        }
    }
}

/// One operation at a time, and on the average one in so many seconds: what an outage has held up is
/// caught up with, within bounds.
struct Pace {
    interval: tokio::time::Interval,
    stop: CancellationToken,
}

impl Pace {
    fn new(seconds: f64, stop: CancellationToken) -> Self {
        let period = Duration::from_secs_f64(seconds.max(0.001));
        let mut interval = tokio::time::interval_at(Instant::now() + period, period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Self { interval, stop }
    }

    /// False when it is time to stop.
    async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = self.interval.tick() => true,
        }
    }
}
