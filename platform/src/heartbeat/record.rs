//! Records the heartbeats of one service of a process, with what its components report.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{INTERVAL, Problem, Report, Role};
use crate::backoff::jitter;
use crate::clock::Clock;
use crate::database::{self, Database, within_bounds};
use crate::health::{Component, Health, Reported};
use crate::panic::caught;

/// A change of the problems is recorded at once, but not more often than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// For the last heartbeat of a process that stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the database's clock and the process's may run apart before they are compared anew.
const DRIFT: chrono::Duration = chrono::Duration::seconds(1);

/// One service of a process.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub db: Database,
    pub clock: Clock,
    pub id: Uuid,
    pub role: Role,
    /// The components that it reports.
    pub health: Health,
    times: Times,
}

impl Recorder {
    pub fn new(db: Database, clock: Clock, role: Role, health: Health) -> Self {
        Self {
            db,
            clock,
            id: Uuid::new_v4(),
            role,
            health,
            times: Times::default(),
        }
    }

    /// Records a heartbeat; returns its time.
    ///
    /// # Errors
    /// The database is unavailable or accepts no write.
    pub async fn beat(&mut self) -> Result<DateTime<Utc>, DbErr> {
        let now = database::now(&self.db, &self.clock).await?;
        self.times.compare(Instant::now(), now);
        let problems = self.health.problems(Instant::now().into_std());
        let report = Report {
            problems: problems.into_iter().map(|one| self.times.of(one)).collect(),
        };
        super::beat(&self.db, (self.id, self.role), report, now).await?;
        super::forget(&self.db, self.role, now).await?;
        Ok(now)
    }

    /// Records that the process stops by itself, as far as the database lets it.
    pub async fn stop(&self) {
        let stopping = async {
            let now = database::now(&self.db, &self.clock).await?;
            super::stop(&self.db, self.id, now).await
        };
        match timeout(STOP_TIMEOUT, stopping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("recording that this process stops: {error}"),
            Err(_) => tracing::warn!("recording that this process stops: no answer"),
        }
    }
}

/// Records a heartbeat every few seconds and at each change of what is reported, until it is told to stop. `check` is
/// made before each of them; what it finds is a problem of `component`, as is a heartbeat that cannot be recorded.
pub async fn run<Check>(
    mut recorder: Recorder,
    component: Component,
    stop: CancellationToken,
    check: impl Fn() -> Check,
) -> anyhow::Result<()>
where
    Check: Future<Output = anyhow::Result<()>>,
{
    let mut changes = recorder.health.changes();
    while !stop.is_cancelled() {
        let earliest = Instant::now() + SHORTEST;
        changes.mark_unchanged();
        let recorded = within_bounds(async {
            let checked = check().await;
            let recorded = recorder.beat().await;
            checked?;
            recorded?;
            anyhow::Ok(())
        });
        match caught(recorded).await {
            Ok(()) => component.ok(),
            Err(error) => component.problem(format!("{error:#}")),
        }
        let waiting = async {
            // The sender lives in the recorder.
            let _ = timeout(jitter(INTERVAL), changes.changed()).await;
            sleep_until(earliest).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = waiting => {}
        }
    }
    recorder.stop().await;
    Ok(())
}

/// What the database's clock said at an instant, so that instants can be given by that clock.
#[derive(Clone, Copy, Debug, Default)]
struct Times(Option<(Instant, DateTime<Utc>)>);

impl Times {
    /// Kept as long as both clocks agree, so that the same instant is the same time in every heartbeat.
    fn compare(&mut self, instant: Instant, now: DateTime<Utc>) {
        let expected = self.0.map(|known| at(known, instant));
        if expected.is_none_or(|expected| (expected - now).abs() > DRIFT) {
            self.0 = Some((instant, now));
        }
    }

    fn of(&self, reported: Reported) -> Problem {
        let time = |instant| {
            let known = self.0.unwrap_or((Instant::now(), DateTime::UNIX_EPOCH));
            at(known, Instant::from_std(instant))
        };
        Problem {
            component: reported.component.to_owned(),
            code: reported.code.map(str::to_owned),
            detail: reported.detail,
            since: time(reported.since),
            next_attempt_at: reported.next_try.map(time),
        }
    }
}

fn at((known, now): (Instant, DateTime<Utc>), instant: Instant) -> DateTime<Utc> {
    match instant.checked_duration_since(known) {
        Some(later) => now + later,
        None => now - known.duration_since(instant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn instant_keeps_its_time_until_the_clock_steps() {
        let (start, epoch) = (Instant::now(), DateTime::UNIX_EPOCH);
        let second = Duration::from_secs(1);
        let mut times = Times::default();
        times.compare(start, epoch);
        let of = |times: &Times| {
            let problem = times.of(Reported {
                component: "upsync",
                code: None,
                detail: String::new(),
                since: start.into_std(),
                next_try: Some((start + 7 * second).into_std()),
            });
            (problem.since, problem.next_attempt_at.unwrap())
        };
        assert_eq!(of(&times), (epoch, epoch + 7 * second));
        let slow = Duration::from_millis(100);
        times.compare(start + 10 * second, epoch + 10 * second + slow);
        assert_eq!(of(&times).0, epoch);
        let step = Duration::from_secs(600);
        times.compare(start + 20 * second, epoch + 20 * second - step);
        assert_eq!(of(&times).0, epoch - step);
    }
}
