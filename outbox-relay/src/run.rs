//! The loop: when to take a step, how long to wait after it, and what to say about it.

use std::error::Error as _;
use std::time::Duration;

use platform::backoff::jitter;
use platform::broker::{self, Broker};
use platform::lease::Lease;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::active::{Active, Error};
use crate::pace::{Pace, Wait};
use crate::{LEASE, Relay, Term, backlog, heartbeat, standby};

/// How long a step may go on after the process was told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Relays until `stop`; then it waits a little for what is in flight and gives the lease back.
///
/// Neither a database nor a broker that is away ends it: it says so in `relay.health`, backs off
/// and goes on.
pub async fn run(relay: Relay, stop: CancellationToken) -> anyhow::Result<()> {
    let lease = Lease::new(LEASE, relay.options.lease_ttl);
    let relaying = async {
        tokio::select! {
            ended = terms(&relay, &lease, &stop) => ended,
            () = backlog::watch(&relay) => Ok(()),
        }
    };
    let (ended, recorded) = tokio::join!(relaying, heartbeat::record(&relay, stop.clone()));
    ended.and(recorded)
}

async fn terms(relay: &Relay, lease: &Lease, stop: &CancellationToken) -> anyhow::Result<()> {
    while let Some(term) = standby::wait(relay, lease, stop).await {
        let stopped = tokio::select! {
            // A lost lease ends the work where it is: whatever is in flight is the next holder's.
            () = term.keep(relay) => false,
            stopped = work(relay, &term, stop) => stopped,
        };
        if stopped {
            release(relay, term).await;
            break;
        }
        tracing::warn!(
            epoch = term.epoch(),
            "the lease is lost, this relay stands by"
        );
    }
    Ok(())
}

/// Steps until `stop` (true) or until another relay has the lease (false).
async fn work(relay: &Relay, term: &Term, stop: &CancellationToken) -> bool {
    let mut active = Active::new(relay, term);
    let mut pace = Pace::default();
    while !stop.is_cancelled() {
        let wait = tokio::select! {
            biased;
            wait = step(&mut active, &mut pace, relay) => wait,
            () = patience(stop) => break,
        };
        let Some(wait) = wait else {
            return false;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = pass(wait, relay) => {}
        }
    }
    match timeout(DRAIN, active.finish()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!("the last confirmed events will be published again: {error}");
        }
        Err(_) => tracing::warn!("the last confirmed events will be published again"),
    }
    true
}

/// Takes one step, says what came of it, and how to wait for the next; `None` when another relay
/// has the lease.
async fn step(active: &mut Active<'_>, pace: &mut Pace, relay: &Relay) -> Option<Wait> {
    let stepped = active.run_once().await;
    relay.health.relay.ok();
    match stepped {
        Ok(counts) => {
            relay.health.database.ok();
            say_trouble(active.trouble(), relay);
            let wait = pace.after(&counts);
            if let Wait::Aside { retry, .. } = wait {
                active.put_off(retry);
            }
            Some(wait)
        }
        Err(Error::Replaced) => None,
        Err(error) => {
            let trouble = active.trouble().map(str::to_owned);
            say_error(&error, trouble.as_deref(), relay).await;
            Some(pace.after_error())
        }
    }
}

fn say_trouble(trouble: Option<&str>, relay: &Relay) {
    match trouble {
        Some(trouble) => relay.health.broker.problem(trouble),
        None => relay.health.broker.ok(),
    }
}

async fn say_error(error: &Error, trouble: Option<&str>, relay: &Relay) {
    let what = match error {
        // The broker was asked first, so it is there.
        Error::Database(error) => {
            say_trouble(trouble, relay);
            return relay.health.database.problem(standby::away(error));
        }
        Error::Broker(source @ broker::Error::Topology { .. }) => chain(source),
        Error::Broker(source) => match relay.broker {
            Broker::RabbitMq(_) => format!("RabbitMQ is away: {}", chain(source)),
            Broker::InProcess(_) => format!("the broker in this process: {}", chain(source)),
        },
        Error::Blocked | Error::Replaced => error.to_string(),
    };
    let waiting = match backlog::sentence(&relay.db).await {
        Ok(waiting) => {
            relay.health.database.ok();
            waiting
        }
        Err(error) => {
            relay.health.database.problem(standby::away(&error));
            "what waits is not known".to_owned()
        }
    };
    relay.health.broker.problem(format!("{what}; {waiting}"));
}

async fn pass(wait: Wait, relay: &Relay) {
    match wait {
        Wait::No => {}
        Wait::For(pause) | Wait::Aside { pause, .. } => sleep(pause).await,
        // The poll is the truth, the wake-up saves time.
        Wait::ForRows => tokio::select! {
            () = relay.wake.woken() => {}
            () = sleep(jitter(relay.options.poll)) => {}
        },
    }
}

/// Resolves when a step has had its time to end.
async fn patience(stop: &CancellationToken) {
    stop.cancelled().await;
    sleep(DRAIN).await;
}

/// As far as it goes: a lease that is not given back runs out.
async fn release(relay: &Relay, term: Term) {
    match timeout(DRAIN, term.release(relay)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("giving the lease back: {error}"),
        Err(_) => tracing::warn!("giving the lease back: no answer within {DRAIN:?}"),
    }
}

/// An error with its causes.
fn chain(error: &broker::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
