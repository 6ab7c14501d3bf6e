//! The lease that makes one relay the active one: waiting for it, holding it, giving it back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use entity::installation;
use metrics::gauge;
use platform::backoff::{Backoff, jitter};
use platform::database::{self, within_bounds};
use platform::lease::{Held, Lease};
use sea_orm::DbErr;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::Relay;

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(5),
};

/// The time for which this relay is the active one.
#[derive(Debug)]
pub struct Term {
    lease: Lease,
    held: Held,
    /// The CloudEvents source of what is published.
    source: String,
    /// By our own clock, counted from before the lease was asked for: we stop before the database
    /// lets another one start.
    valid_until: Mutex<Instant>,
}

impl Term {
    /// Takes the lease if it is free, once.
    pub async fn take(relay: &Relay, lease: &Lease) -> Result<Option<Self>, DbErr> {
        let valid_until = Instant::now() + lease.ttl;
        let held = within_bounds(lease.acquire(&relay.db, &relay.clock)).await?;
        let Some(held) = held else {
            return Ok(None);
        };
        Ok(Some(Self {
            lease: lease.clone(),
            held,
            source: within_bounds(source(relay)).await?,
            valid_until: Mutex::new(valid_until),
        }))
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub fn epoch(&self) -> i64 {
        self.held.epoch()
    }

    /// Whether no other relay can have taken over yet.
    pub fn is_valid(&self) -> bool {
        Instant::now() < self.valid_until()
    }

    /// Lets another relay take over at once.
    pub async fn release(self, relay: &Relay) -> Result<(), DbErr> {
        gauge!("relay_lease_held").set(0);
        self.lease.release(&relay.db, &self.held).await
    }

    /// Renews the lease for as long as it goes, and returns when it is lost.
    pub(crate) async fn keep(&self, relay: &Relay) {
        let mut attempt = 0;
        // A batch that is read and settled does not mean that the lease can be written.
        let renewals = relay.health.database.cause("lease");
        sleep(self.lease.ttl / 3).await;
        loop {
            let next = Instant::now() + self.lease.ttl;
            let renewing = self.lease.acquire(&relay.db, &relay.clock);
            let wait = match timeout_at(self.valid_until(), renewing).await {
                Ok(Ok(Some(held))) if held == self.held => {
                    *self
                        .valid_until
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = next;
                    attempt = 0;
                    renewals.solved();
                    self.lease.ttl / 3
                }
                Ok(Err(error)) => {
                    renewals.problem(format!("renewing the relay's lease: {error}"));
                    attempt += 1;
                    BACKOFF.jittered(attempt).min(self.lease.ttl / 10)
                }
                // Another relay has it, or had it in between, or it has run out.
                Ok(Ok(_)) | Err(_) => return,
            };
            sleep_until((Instant::now() + wait).min(self.valid_until())).await;
        }
    }

    fn valid_until(&self) -> Instant {
        *self
            .valid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn source(relay: &Relay) -> Result<String, DbErr> {
    let tx = database::begin(&relay.db).await?;
    let source = installation::source(&tx).await?;
    tx.commit().await?;
    if source.is_restored {
        tracing::warn!(
            source = source.uri,
            "the database was restored from a dump, so events have a new source: consumers should read \
             all customers again"
        );
    }
    Ok(source.uri)
}

/// Stands by until the lease is ours; `None` when the process stops before that.
pub(crate) async fn wait(relay: &Relay, lease: &Lease, stop: &CancellationToken) -> Option<Term> {
    let mut attempt = 0;
    gauge!("relay_lease_held").set(0);
    relay.health.relay.idle();
    relay.health.broker.idle();
    loop {
        let taken = tokio::select! {
            biased;
            taken = Term::take(relay, lease) => taken,
            () = stop.cancelled() => return None,
        };
        let pause = match taken {
            Ok(Some(term)) => {
                gauge!("relay_lease_held").set(1);
                tracing::info!(epoch = term.epoch(), "this relay is the active one");
                return Some(term);
            }
            Ok(None) => {
                attempt = 0;
                relay.health.database.ok();
                match lease.is_overdue(&relay.clock) {
                    true => relay.health.relay.problem(
                        "the active relay has not renewed its lease; this one takes over soon",
                    ),
                    false => relay.health.relay.idle(),
                }
                jitter(relay.options.poll.min(lease.ttl / 10))
            }
            Err(error) => {
                attempt += 1;
                relay.health.database.problem(away(&error));
                BACKOFF.jittered(attempt)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(pause) => {}
        }
    }
}

pub(crate) fn away(error: &DbErr) -> String {
    format!("the database does not answer, so nothing is read or settled: {error}")
}
