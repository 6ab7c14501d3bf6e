//! The workers that live share one rate.

use std::time::Duration;

use platform::health::{Health, Problem};
use platform::heartbeat::{self, Recorder, Role};
use platform::test_support::until;
use sync_worker::registry::{self, beat, has_one_died, join};
use tokio_util::sync::CancellationToken;

use crate::harness::{World, each_world};

const LIMIT: Duration = Duration::from_secs(30);

/// What the harness gives to one worker.
const RATE: f64 = 10_000.0;

fn assert_share(world: &World, workers: f64) {
    let rate = world.engine.stripe.rate();
    assert!((rate - RATE / workers).abs() < 1.0, "{rate}");
}

#[tokio::test]
async fn each_worker_takes_its_share_of_the_rate() {
    each_world(async |world| {
        let (mut one, mut other) = (world.recorder(), world.recorder());
        assert_eq!(beat(&world.engine, &mut one).await.unwrap(), 1);
        assert_share(&world, 1.0);
        assert_eq!(beat(&world.engine, &mut other).await.unwrap(), 2);
        assert_eq!(beat(&world.engine, &mut one).await.unwrap(), 2);
        assert_share(&world, 2.0);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_stops_leaves_at_once() {
    let world = World::new().await;
    let (one, mut other) = (world.recorder(), world.recorder());
    beat(&world.engine, &mut other).await.unwrap();
    let stop = CancellationToken::new();
    let health = Health::new().component("registry", Duration::from_secs(60));
    let engine = world.engine.clone();
    let running = registry::run(engine, one, health, stop.clone());
    let stopping = async {
        let both = async || (world.engine.stripe.rate() < RATE / 1.5).then_some(());
        until("both are counted", LIMIT, both).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, stopping);
    ended.unwrap();
    assert_eq!(beat(&world.engine, &mut other).await.unwrap(), 1);
    assert!(!has_one_died(&world.engine).await.unwrap());
}

#[tokio::test]
async fn a_worker_that_was_killed_ages_out_and_is_remembered_for_an_hour() {
    let world = World::new().await;
    let (mut killed, mut other) = (world.recorder(), world.recorder());
    beat(&world.engine, &mut killed).await.unwrap();
    world.later(Duration::from_secs(19));
    assert_eq!(beat(&world.engine, &mut other).await.unwrap(), 2);
    assert!(!has_one_died(&world.engine).await.unwrap());
    world.later(Duration::from_secs(2));
    assert_eq!(beat(&world.engine, &mut other).await.unwrap(), 1);
    assert_share(&world, 1.0);
    assert!(has_one_died(&world.engine).await.unwrap());
    world.later(Duration::from_secs(3600));
    beat(&world.engine, &mut other).await.unwrap();
    assert!(!has_one_died(&world.engine).await.unwrap());
}

/// A database in a file belongs to one process.
#[tokio::test]
async fn on_sqlite_every_other_worker_is_known_to_be_gone() {
    let world = World::new().await;
    beat(&world.engine, &mut world.recorder()).await.unwrap();
    join(&world.engine, &mut world.recorder()).await.unwrap();
    assert_share(&world, 1.0);
    assert!(has_one_died(&world.engine).await.unwrap());
}

#[tokio::test]
async fn heartbeat_records_problems_until_the_worker_stops() {
    each_world(async |world| {
        let engine = &world.engine;
        let health = Health::new();
        let recorder = Recorder::new(
            engine.db.clone(),
            engine.clock.clone(),
            Role::Worker,
            health.section(),
        );
        let registry = recorder.health.component("registry", LIMIT);
        let upsync = recorder.health.component("upsync", LIMIT);
        // Another service of the same process.
        health.component("api", LIMIT).problem("not ours");
        let stop = CancellationToken::new();
        let running = registry::run(engine.clone(), recorder, registry, stop.clone());
        let recorded = async |problems: &[&str], is_alive: bool| {
            until("it is recorded", LIMIT, async || {
                let workers = heartbeat::of_role(&engine.db, Role::Worker).await.unwrap();
                let worker = workers.first()?;
                let texts = worker.problems().iter().map(|one| one.detail.as_str());
                let is_so = texts.eq(problems.iter().copied());
                (is_so && worker.is_alive(world.now().await) == is_alive).then(|| worker.clone())
            })
            .await
        };
        let watching = async {
            recorded(&[], true).await;
            let problem = Problem::new("refused").code("key_refused");
            upsync.cause("breaker").problem(problem);
            let worker = recorded(&["refused"], true).await;
            let problem = &worker.problems()[0];
            assert_eq!(problem.component, "upsync");
            assert_eq!(problem.code.as_deref(), Some("key_refused"));
            // The harness's clock stands still while the process's runs.
            let apart = (problem.since - worker.seen_at).abs();
            assert!(
                apart < chrono::Duration::from_std(LIMIT).unwrap(),
                "{apart}"
            );
            upsync.cause("breaker").solved();
            recorded(&[], true).await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(running, watching);
        ended.unwrap();
        recorded(&[], false).await;
        assert!(!has_one_died(engine).await.unwrap());
    })
    .await;
}
