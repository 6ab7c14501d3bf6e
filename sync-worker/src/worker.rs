//! The tasks of a worker process.

use std::time::Duration;

use platform::broker::Broker;
use platform::database::{is_unavailable, within_bounds};
use platform::health::{Component, Health};
use platform::heartbeat::{Recorder, Role};
use platform::supervisor::Supervisor;
use platform::wake::Wake;
use sea_orm::{DbBackend, DbErr};

use crate::downsync::scan::{Intervals, Scan};
use crate::engine::Engine;
use crate::{budget, downsync, measure, purge, registry, upsync};

/// What a worker needs.
#[derive(Clone)]
pub struct Worker {
    pub engine: Engine,
    pub broker: Broker,
    pub intervals: Intervals,
    /// Woken when an event has come into the inbox.
    pub inbox: Wake,
    pub health: Health,
}

/// A loop that has not shown itself for so long is stalled. Longer than one request to Stripe may take.
const STALLED_AFTER: Duration = Duration::from_secs(90);

/// Sweeps are a minute apart at least, and further apart where they are slow.
const SWEEP_STALLED_AFTER: Duration = Duration::from_secs(3600);

/// Starts the tasks of a worker. They end when the supervisor stops.
///
/// # Errors
/// The database refuses the first statements.
pub async fn start(supervisor: &mut Supervisor, worker: Worker) -> Result<(), DbErr> {
    let Worker {
        engine,
        broker,
        intervals,
        inbox,
        health,
    } = worker;
    measure::describe();
    // What this worker records of itself leaves out the other services of the process.
    let health = health.section();
    let mut recorder = recorder(&engine, &health);
    join(&engine, &mut recorder).await?;
    // SQLite is used by one process only, so a push that is under way now is one that was killed.
    if engine.db.get_database_backend() == DbBackend::Sqlite {
        upsync::due::forget_dead_pushes(&engine).await?;
    }
    engine.resume_moments().await?;
    // Nothing is pushed before Stripe has said whose key it is.
    engine.lane.hold();
    let component = |name| health.component(name, STALLED_AFTER);
    let stop = supervisor.stop();
    supervisor.spawn(
        "registry",
        registry::run(
            engine.clone(),
            recorder,
            component("registry"),
            stop.clone(),
        ),
    );
    start_upsync(supervisor, &engine, &broker, &health);
    supervisor.spawn(
        "downsync-apply",
        downsync::consume::run(
            engine.clone(),
            broker.clone(),
            component("downsync-apply"),
            stop.clone(),
        ),
    );
    supervisor.spawn(
        "downsync-recheck",
        downsync::recheck::run(engine.clone(), component("downsync-recheck"), stop.clone()),
    );
    supervisor.spawn(
        "downsync-scan",
        downsync::scan::run(
            Scan {
                engine: engine.clone(),
                broker,
                intervals,
                inbox,
                health: health.component("downsync-scan", intervals.stalled_after()),
                inbox_health: health.component("downsync-inbox", intervals.stalled_after()),
            },
            stop.clone(),
        ),
    );
    upkeep(supervisor, &engine, component);
    Ok(())
}

fn recorder(engine: &Engine, health: &Health) -> Recorder {
    let (db, clock) = (engine.db.clone(), engine.clock.clone());
    Recorder::new(db, clock, Role::Worker, health.clone())
}

/// What is counted and forgotten.
fn upkeep(
    supervisor: &mut Supervisor,
    engine: &Engine,
    component: impl Fn(&'static str) -> Component,
) {
    let stop = supervisor.stop();
    let measure = measure::run(engine.clone(), component("measure"), stop.clone());
    supervisor.spawn("measure", measure);
    let budget = budget::run(engine.clone(), component("budget"), stop.clone());
    supervisor.spawn("budget", budget);
    let purge = purge::run(engine.clone(), component("purge"), stop);
    supervisor.spawn("purge", purge);
}

/// A database that is not up yet delays the first beat; the registry goes on trying.
async fn join(engine: &Engine, recorder: &mut Recorder) -> Result<(), DbErr> {
    match within_bounds(registry::join(engine, recorder)).await {
        Err(error) if is_unavailable(&error) => {
            tracing::warn!("joining the workers, trying again: {error}");
            Ok(())
        }
        joined => joined,
    }
}

/// The tasks that push.
fn start_upsync(supervisor: &mut Supervisor, engine: &Engine, broker: &Broker, health: &Health) {
    let stop = supervisor.stop();
    supervisor.spawn(
        "upsync",
        upsync::consume::run(
            engine.clone(),
            broker.clone(),
            health.component("upsync", STALLED_AFTER),
            stop.clone(),
        ),
    );
    supervisor.spawn(
        "upsync-due",
        upsync::due::run(
            engine.clone(),
            health.component("upsync-due", STALLED_AFTER),
            stop.clone(),
        ),
    );
    supervisor.spawn(
        "upsync-sweep",
        upsync::sweep::run(
            engine.clone(),
            broker.clone(),
            health.component("upsync-sweep", SWEEP_STALLED_AFTER),
            stop.clone(),
        ),
    );
}
