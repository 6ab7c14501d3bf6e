//! When the inbox is worked off: as soon as it is woken, and every second unasked, beside whatever else the scanner
//! does.

use std::time::Duration;

use platform::backoff::jitter;
use platform::panic::caught;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{ON_ERROR, Scan};
use crate::downsync::account::Account;
use crate::downsync::inbox::{self, Recent, Worked, is_of_one_customer};
use crate::downsync::publish::Drifts;

/// The look that needs no wake-up: a wake-up saves time only.
const POLL: Duration = Duration::from_secs(1);

/// Works off what comes until it is told to stop.
pub(super) async fn run(scan: &Scan, account: &Account, stop: &CancellationToken) {
    let mut drifts = Drifts::new(scan.broker.clone());
    let mut recent = Recent::default();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let round = run_once(scan, account, (&mut drifts, &mut recent));
        let wait = match caught(round).await {
            Ok(worked) => {
                // Those that wait for their next read may be the ones that could not be read.
                if recent.due().is_none() {
                    failures = 0;
                    scan.inbox_health.ok();
                } else {
                    scan.inbox_health.beat();
                }
                if worked.events > 0 {
                    tracing::debug!(?worked, "worked off events");
                    continue;
                }
                let due = recent
                    .due()
                    .map(|due| due.saturating_duration_since(Instant::now()));
                Wait::ForEvents(due.unwrap_or(POLL).min(jitter(POLL)))
            }
            Err(error) => {
                failures += 1;
                let detail = format!("working off Stripe's events: {error:#}");
                scan.inbox_health
                    .problem(scan.engine.lane.problem_of_reads(detail));
                let rest = ON_ERROR.jittered(failures);
                // One customer that cannot be read holds up no event of another.
                if is_of_one_customer(&error) {
                    Wait::ForEvents(rest)
                } else {
                    Wait::For(rest)
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = pass(wait, scan) => {}
        }
    }
}

enum Wait {
    /// Whatever comes: what failed would fail again.
    For(Duration),
    /// For a wake-up, but no longer.
    ForEvents(Duration),
}

async fn pass(wait: Wait, scan: &Scan) {
    match wait {
        Wait::For(rest) => sleep(rest).await,
        Wait::ForEvents(rest) => tokio::select! {
            () = scan.inbox.woken() => {}
            () = sleep(rest) => {}
        },
    }
}

async fn run_once(
    scan: &Scan,
    account: &Account,
    (drifts, recent): (&mut Drifts, &mut Recent),
) -> anyhow::Result<Worked> {
    account.check(&scan.engine).await?;
    inbox::run_after(&scan.engine, drifts, recent).await
}
