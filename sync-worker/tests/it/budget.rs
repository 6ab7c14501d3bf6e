//! The reads of Stripe: counted by kind, brought to the database together, and weighed.

use std::collections::BTreeMap;
use std::time::Duration;

use entity::downsync_state;
use entity::stripe_read;
use platform::health::Health;
use sea_orm::EntityTrait;
use sync_worker::budget::{self, Said, run_once};
use sync_worker::policy::Policy;
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, World, each_world};

async fn counted(world: &World) -> BTreeMap<String, i64> {
    let rows = stripe_read::Entity::find()
        .all(&world.engine.db)
        .await
        .unwrap();
    rows.into_iter().map(|row| (row.kind, row.count)).collect()
}

fn total(counted: &BTreeMap<String, i64>) -> usize {
    usize::try_from(counted.values().sum::<i64>()).unwrap()
}

#[tokio::test]
async fn every_read_that_is_sent_is_counted_once_by_its_kind() {
    each_world(async |world| {
        // What it took to set the world up.
        world.engine.stripe.take_reads();
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        world.push(row.id).await;
        world.events().await;
        world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "B")]);
        world.events().await;
        world.pass().await;
        assert!(counted(&world).await.is_empty());
        let mut said = Said::default();
        let forecast = run_once(&world.engine, &mut said).await.unwrap();
        let found = counted(&world).await;
        for kind in ["events", "list", "retrieve", "lookup", "account"] {
            assert!(
                found.get(kind).is_some_and(|count| *count >= 1),
                "{kind}: {found:?}"
            );
        }
        assert_eq!(total(&found), world.reads().len());
        assert_eq!(usize::try_from(forecast.used).unwrap(), total(&found));
        // Again, and nothing is counted twice.
        run_once(&world.engine, &mut said).await.unwrap();
        assert_eq!(counted(&world).await, found);
        world.poll().await;
        run_once(&world.engine, &mut said).await.unwrap();
        assert_eq!(counted(&world).await["events"], found["events"] + 1);
    })
    .await;
}

#[tokio::test]
async fn a_poll_that_finds_nothing_is_one_request_and_no_write() {
    let world = World::new().await;
    world.synced(&[("email", "a@x.io")]).await;
    world.poll().await;
    world.forget_requests();
    let before = downsync_state::Entity::find()
        .all(&world.engine.db)
        .await
        .unwrap();
    let reads = counted(&world).await;
    world.watch_writes().await;
    world.poll().await;
    assert_eq!(world.reads(), ["GET /v1/events"]);
    assert!(world.writes().await.is_empty());
    assert_eq!(
        downsync_state::Entity::find()
            .all(&world.engine.db)
            .await
            .unwrap(),
        before
    );
    assert_eq!(counted(&world).await, reads);
}

#[tokio::test]
async fn what_was_not_counted_when_the_database_was_away_or_the_worker_stopped_is_counted_then() {
    let world = World::new().await;
    run_once(&world.engine, &mut Said::default()).await.unwrap();
    let before = total(&counted(&world).await);
    world.poll().await;
    let db = &world.engine.db;
    use sea_orm::ConnectionTrait;
    db.execute_unprepared("ALTER TABLE stripe_read RENAME TO away")
        .await
        .unwrap();
    run_once(&world.engine, &mut Said::default())
        .await
        .unwrap_err();
    db.execute_unprepared("ALTER TABLE away RENAME TO stripe_read")
        .await
        .unwrap();
    world.poll().await;
    let stop = CancellationToken::new();
    stop.cancel();
    let health = Health::new().component("budget", Duration::from_secs(60));
    budget::run(world.engine.clone(), health, stop)
        .await
        .unwrap();
    assert_eq!(total(&counted(&world).await), before + 2);
}

#[tokio::test]
async fn the_settings_that_a_month_is_projected_by_are_those_of_the_scanner_at_work() {
    let setup = Setup {
        policy: Policy {
            read_budget: Some(10_000),
            ..Policy::default()
        },
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let mut scanner = world.scanner();
    scanner.look_once(&CancellationToken::new()).await.unwrap();
    let state = downsync_state::Entity::find()
        .one(&world.engine.db)
        .await
        .unwrap()
        .unwrap();
    let hour = Some(3_600_000);
    assert_eq!(
        (state.poll_interval_ms, state.full_pass_interval_ms),
        (hour, hour)
    );
    assert_eq!(state.read_budget, Some(10_000));
    let settings = stripe_read::Settings::of(&state);
    assert_eq!(settings.pages, Some(1));
    let forecast = run_once(&world.engine, &mut Said::default()).await.unwrap();
    // An hourly poll and an hourly pass of one page: some 1,500 a month at most.
    assert!(
        forecast.projected > forecast.used && forecast.projected < 10_000,
        "{forecast:?}"
    );
    assert_eq!(stripe_read::warning(forecast, settings.budget), None);
    assert!(stripe_read::warning(forecast, Some(1)).is_some());
}

#[tokio::test]
async fn overdrawn_budget_stops_nothing() {
    let setup = Setup {
        policy: Policy {
            read_budget: Some(1),
            ..Policy::default()
        },
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let forecast = run_once(&world.engine, &mut Said::default()).await.unwrap();
    assert!(forecast.used > 1, "{forecast:?}");
    world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "B")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    world.stripe_creates(&[("email", "b@x.io")]);
    world.pass().await;
    assert_eq!(world.rows().await.len(), 2);
    world.update(row.id, &[("name", "C")]).await;
    world.push(row.id).await;
    world.assert_in_step(row.id).await;
}
