//! When Stripe is looked at: the inbox as soon as something is in it, the events at every interval, everything at the
//! start and at every longer one. One scanner at a time, by a lease.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use metrics::gauge;
use platform::backoff::{Backoff, jitter};
use platform::broker::Broker;
use platform::database::within_bounds;
use platform::health::Component;
use platform::lease::Lease;
use platform::panic::caught;
use platform::wake::Wake;
use sea_orm::ActiveValue::Set;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::events::{self, Polled};
use super::pace::Pace;
use super::pass::{self, Refused};
use super::publish::Drifts;
use super::state;
use crate::engine::Engine;
use crate::gauge::Gauge;
use crate::lane::{code, words};
use crate::stripe::Failure;

mod inbox;

/// The lease of the scanner.
pub const LEASE: &str = "downsync-scan";
const LEASE_TTL: Duration = Duration::from_secs(15);
/// A scanner renews its lease at least so often.
const LEASE_RENEWAL: Duration = Duration::from_secs(5);
/// A stand-by reads the lease at least so often.
const STANDBY_POLL: Duration = Duration::from_secs(1);
/// A scanner shows that it lives at least so often.
const BEAT: Duration = Duration::from_secs(5);

/// So often the log tells how far a pass is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

const ON_ERROR: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
};

/// How often Stripe is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    pub events: Duration,
    pub full_pass: Duration,
}

/// What a scanner works with.
pub struct Scan {
    pub engine: Engine,
    pub broker: Broker,
    pub intervals: Intervals,
    /// Woken when an event has come into the inbox.
    pub inbox: Wake,
    pub health: Component,
    pub inbox_health: Component,
}

/// Scans until it is told to stop.
pub async fn run(scan: Scan, stop: CancellationToken) -> anyhow::Result<()> {
    let Scan { engine, health, .. } = &scan;
    let lease = Lease::new(LEASE, LEASE_TTL);
    let mut scanner = Scanner::new(&scan);
    let account = scanner.account.clone();
    while !stop.is_cancelled() {
        let held = match within_bounds(lease.acquire(&engine.db, &engine.clock)).await {
            Ok(Some(held)) => held,
            Ok(None) => {
                match lease.is_overdue(&engine.clock) {
                    true => health.problem(
                        "the active scanner has not renewed its lease; this one takes over soon",
                    ),
                    false => health.idle(),
                }
                scan.inbox_health.idle();
                scanner.start_over();
                let _ = tokio::time::timeout(jitter(STANDBY_POLL), stop.cancelled()).await;
                continue;
            }
            Err(error) => {
                health.problem(format!("asking for the scanner's lease: {error}"));
                let _ = tokio::time::timeout(jitter(STANDBY_POLL), stop.cancelled()).await;
                continue;
            }
        };
        // The inbox does not wait for a full pass, which may take an hour.
        let work = async {
            tokio::join!(
                scanner.look_until(health, &stop),
                inbox::run(&scan, &account, &stop)
            )
        };
        // Both take longer than the lease lives: it is renewed beside the work.
        tokio::select! {
            _ = Box::pin(work) => {}
            () = keep(engine, &lease) => {
                tracing::warn!("the scanner's lease was lost; another one may scan");
            }
        }
        if stop.is_cancelled() {
            engine.release(&lease, &held).await;
        }
    }
    Ok(())
}

/// Renews the lease for as long as it goes, and returns when it is lost: to another one, or because the
/// database has not answered for as long as it lives.
async fn keep(engine: &Engine, lease: &Lease) {
    let mut valid_until = Instant::now() + LEASE_TTL;
    while Instant::now() < valid_until {
        tokio::time::sleep(LEASE_RENEWAL).await;
        let next = Instant::now() + LEASE_TTL;
        let renewing = lease.acquire(&engine.db, &engine.clock);
        match timeout_at(valid_until, renewing).await {
            Ok(Ok(Some(_))) => valid_until = next,
            Ok(Err(error)) => tracing::debug!(%error, "renewing the scanner's lease"),
            Ok(Ok(None)) | Err(_) => return,
        }
    }
}

/// A pass may take hours: while page comes after page the scanner is not stalled, and now and then the log says how far it
/// is, where nobody draws it.
async fn show(gauge: &Gauge, health: &Component) -> Infallible {
    let mut glance = gauge.watch();
    let mut told_at = Instant::now();
    loop {
        // The sender is the gauge's own.
        let _ = glance.changed().await;
        let Some(glance) = *glance.borrow_and_update() else {
            continue;
        };
        health.beat();
        if gauge.is_drawn() || told_at.elapsed() < TOLD_EVERY {
            continue;
        }
        told_at = Instant::now();
        tracing::info!(
            customers = glance.customers,
            pages = glance.pages,
            customers_per_second = glance.customers_per_second(std::time::Instant::now()),
            slices_left = glance.slices,
            "comparing Stripe's customers"
        );
    }
}

/// What a look did; none where nothing was due.
#[derive(Default)]
struct Looked {
    events: Option<anyhow::Result<()>>,
    pass: Option<anyhow::Result<()>>,
}

/// Failures in a row, each ended by a success of the same.
#[derive(Default)]
struct Failures {
    looks: u32,
    events: u32,
    passes: u32,
}

/// A key that is refused for a read is refused for the pushes too: the breaker reports it, with the remedy.
fn stop_if_key_is_refused(engine: &Engine, error: &anyhow::Error) {
    let refused = error.downcast_ref::<Failure>();
    let refused = refused.filter(|failure| failure.status == Some(401));
    if let Some(failure) = refused
        && engine.lane.stopped().is_none()
    {
        let reason = words::lane_is_stopped(code::KEY_REFUSED, failure);
        engine.lane.stop_for(code::KEY_REFUSED, reason);
    }
}

/// When to try again what has failed once more.
fn rest(failures: &mut u32) -> Instant {
    *failures += 1;
    Instant::now() + ON_ERROR.jittered(*failures)
}

/// What is due when, the inbox left out.
pub struct Scanner {
    engine: Engine,
    drifts: Drifts,
    intervals: Intervals,
    pace: Pace,
    inbox: Wake,
    next_events: Instant,
    next_pass: Instant,
    failures: Failures,
    account: Account,
    /// The intervals that were stored last.
    told: Option<Intervals>,
}

impl Scanner {
    pub fn new(scan: &Scan) -> Self {
        Self {
            engine: scan.engine.clone(),
            drifts: Drifts::new(scan.broker.clone()),
            intervals: scan.intervals,
            pace: Pace::new(scan.intervals.events),
            inbox: scan.inbox.clone(),
            next_events: Instant::now(),
            next_pass: Instant::now(),
            failures: Failures::default(),
            account: Account::default(),
            told: None,
        }
    }

    /// As if it had just been started: another one has looked meanwhile, and told how often.
    fn start_over(&mut self) {
        self.next_events = Instant::now();
        self.next_pass = Instant::now();
        self.pace = Pace::new(self.intervals.events);
        self.told = None;
    }

    async fn look_until(&mut self, health: &Component, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let rest = self.look(health, stop).await.min(BEAT);
            let _ = tokio::time::timeout(rest, stop.cancelled()).await;
        }
    }

    /// Does what is due, and says how long there is nothing to do.
    async fn look(&mut self, health: &Component, stop: &CancellationToken) -> Duration {
        let engine = self.engine.clone();
        let looked = tokio::select! {
            looked = caught(self.do_what_is_due(stop)) => looked,
            never = show(&engine.gauge, health) => match never {},
        };
        if !stop.is_cancelled() {
            self.take(looked, health);
        }
        self.next_events
            .min(self.next_pass)
            .saturating_duration_since(Instant::now())
    }

    /// Reports what was done and what failed. A look at which nothing was due changes nothing: what failed last is
    /// still the truth of it.
    fn take(&mut self, looked: anyhow::Result<Looked>, health: &Component) {
        let looked = match looked {
            Ok(looked) => {
                self.failures.looks = 0;
                health.ok();
                looked
            }
            Err(error) => {
                let problem = self.engine.lane.problem_of_reads(format!("{error:#}"));
                health.problem(problem);
                let rest = rest(&mut self.failures.looks);
                self.next_events = self.next_events.max(rest);
                self.next_pass = self.next_pass.max(rest);
                return;
            }
        };
        for (result, cause, failures, next) in [
            (
                looked.events,
                "events",
                &mut self.failures.events,
                &mut self.next_events,
            ),
            (
                looked.pass,
                "full pass",
                &mut self.failures.passes,
                &mut self.next_pass,
            ),
        ] {
            match result {
                None => {}
                Some(Ok(())) => {
                    *failures = 0;
                    health.cause(cause).solved();
                }
                Some(Err(error)) => {
                    stop_if_key_is_refused(&self.engine, &error);
                    let problem = self.engine.lane.problem_of_reads(format!("{error:#}"));
                    health.cause(cause).problem(problem);
                    *next = rest(failures).max(*next);
                }
            }
        }
    }

    /// Does what is due. The full pass does not wait for events that cannot be read.
    ///
    /// # Errors
    /// Something is away, or the key is another account's; what was not done stays due.
    pub async fn look_once(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let Looked { events, pass } = self.do_what_is_due(stop).await?;
        pass.unwrap_or(Ok(()))?;
        events.unwrap_or(Ok(()))
    }

    async fn do_what_is_due(&mut self, stop: &CancellationToken) -> anyhow::Result<Looked> {
        self.account.check(&self.engine).await?;
        self.tell().await?;
        let mut looked = Looked::default();
        if Instant::now() >= self.next_events {
            let events = self.events().await;
            if events.is_ok() {
                self.next_events = Instant::now() + self.pace.interval();
            }
            looked.events = Some(events);
        }
        if Instant::now() >= self.next_pass {
            looked.pass = Some(self.pass(stop).await);
        }
        Ok(looked)
    }

    async fn pass(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let began = Instant::now();
        let passed = pass::run_once(&self.engine, &mut self.drifts, stop)
            .await
            .context("the full pass over Stripe's customers was not complete");
        match passed {
            Ok(counts) => {
                tracing::info!(
                    customers = counts.customers,
                    changed = counts.drifts,
                    imported = counts.imported,
                    deleted = counts.deletions,
                    unsent = counts.missed,
                    "compared all of Stripe's customers"
                );
                self.next_pass = Instant::now() + jitter(self.intervals.full_pass);
                Ok(())
            }
            Err(error) => {
                // The next one would most likely be refused as well: it may cost a tenth of the time at most.
                if error.downcast_ref::<Refused>().is_some() {
                    let rest = (9 * began.elapsed()).min(self.intervals.full_pass);
                    self.next_pass = Instant::now() + rest;
                }
                Err(error)
            }
        }
    }

    /// Stores how often Stripe is looked at, and what it may cost, for whoever asks; only if that is news.
    async fn tell(&mut self) -> anyhow::Result<()> {
        let intervals = Intervals {
            events: self.pace.interval(),
            ..self.intervals
        };
        if self.told == Some(intervals) {
            return Ok(());
        }
        let engine = &self.engine;
        let now = engine.now(&engine.db).await?;
        let ms = |interval: Duration| i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        state::store(&engine.db, now, |state| {
            state.poll_interval_ms = Set(Some(ms(intervals.events)));
            state.full_pass_interval_ms = Set(Some(ms(intervals.full_pass)));
            state.read_budget = Set(engine.policy.read_budget);
        })
        .await?;
        gauge!("events_poll_interval_seconds").set(intervals.events.as_secs_f64());
        self.told = Some(intervals);
        Ok(())
    }

    /// Polls the events, and wakes who works off the inbox.
    async fn events(&mut self) -> anyhow::Result<()> {
        let poll = events::poll_with_evidence(&self.engine).await?;
        if self.pace.learn(poll.evidence) {
            let interval = self.pace.interval();
            tracing::info!("Stripe's events are read every {interval:?} from now on");
        }
        match poll.polled {
            Polled::New(0) => {}
            Polled::New(_) => self.inbox.wake(),
            Polled::NeedsPass => self.next_pass = Instant::now(),
        }
        Ok(())
    }
}

impl Intervals {
    /// When a scanner that has not shown itself is stalled: a full pass may take its time.
    pub fn stalled_after(&self) -> Duration {
        Duration::from_secs(600) + 2 * Pace::new(self.events).longest()
    }
}
