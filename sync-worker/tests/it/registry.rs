//! The workers that live share one rate.

use std::time::Duration;

use platform::health::Health;
use sync_worker::registry::{self, beat, has_one_died, join};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{World, each_world};

/// What the harness gives to one worker.
const RATE: f64 = 10_000.0;

fn assert_share(world: &World, workers: f64) {
    let rate = world.engine.stripe.rate();
    assert!((rate - RATE / workers).abs() < 1.0, "{rate}");
}

#[tokio::test]
async fn each_worker_takes_its_share_of_the_rate() {
    each_world(async |world| {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        assert_eq!(beat(&world.engine, one).await.unwrap(), 1);
        assert_share(&world, 1.0);
        assert_eq!(beat(&world.engine, other).await.unwrap(), 2);
        assert_eq!(beat(&world.engine, one).await.unwrap(), 2);
        assert_share(&world, 2.0);
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_stops_leaves_at_once() {
    let world = World::new().await;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    beat(&world.engine, other).await.unwrap();
    let stop = CancellationToken::new();
    let health = Health::new().component("registry", Duration::from_secs(60));
    let engine = world.engine.clone();
    let running = registry::run(engine, one, health, stop.clone());
    let stopping = async {
        let both = async || (world.engine.stripe.rate() < RATE / 1.5).then_some(());
        let limit = Duration::from_secs(20);
        platform::test_support::until("both are counted", limit, both).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, stopping);
    ended.unwrap();
    assert_eq!(beat(&world.engine, other).await.unwrap(), 1);
    assert!(!has_one_died(&world.engine).await.unwrap());
}

#[tokio::test]
async fn a_worker_that_was_killed_ages_out_and_is_remembered_for_an_hour() {
    let world = World::new().await;
    let (killed, other) = (Uuid::new_v4(), Uuid::new_v4());
    beat(&world.engine, killed).await.unwrap();
    world.later(Duration::from_secs(19));
    assert_eq!(beat(&world.engine, other).await.unwrap(), 2);
    assert!(!has_one_died(&world.engine).await.unwrap());
    world.later(Duration::from_secs(2));
    assert_eq!(beat(&world.engine, other).await.unwrap(), 1);
    assert_share(&world, 1.0);
    assert!(has_one_died(&world.engine).await.unwrap());
    world.later(Duration::from_secs(3600));
    beat(&world.engine, other).await.unwrap();
    assert!(!has_one_died(&world.engine).await.unwrap());
}

/// A database in a file belongs to one process.
#[tokio::test]
async fn on_sqlite_every_other_worker_is_known_to_be_gone() {
    let world = World::new().await;
    beat(&world.engine, Uuid::new_v4()).await.unwrap();
    join(&world.engine, Uuid::new_v4()).await.unwrap();
    assert_share(&world, 1.0);
    assert!(has_one_died(&world.engine).await.unwrap());
}
