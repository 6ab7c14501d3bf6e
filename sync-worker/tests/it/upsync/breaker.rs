//! A Stripe that is away, or refuses everybody alike: the lane stops as a whole, and no customer pays for it.

use std::time::Duration;

use platform::config::Secret;
use platform::health::Health;
use sea_orm::EntityTrait;
use stripe_sandbox::fault::Kind;
use sync_worker::stripe::{Options, Stripe};
use sync_worker::upsync::{Pushed, consume};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::World;
use crate::harness::look::until_problem;

/// So many different customers in a row stop the lane.
const ENOUGH: usize = 5;

/// Lets the longest rest of the lane pass without waiting for it.
async fn rest() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
}

/// So many new customers, none pushed yet.
async fn customers(world: &World, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::with_capacity(count);
    for place in 0..count {
        let row = world.create(&[("email", &format!("{place}@x.io"))]).await;
        ids.push(row.id);
    }
    ids
}

/// Their messages are lost and the lane is stopped: the links themselves ask.
async fn ask_all(world: &World, expected: u64) {
    let outbox = entity::outbox::Entity::delete_many();
    outbox.exec(&world.engine.db).await.unwrap();
    world.later(Duration::from_secs(180));
    assert_eq!(world.missed().await, expected);
}

#[tokio::test]
async fn while_stripe_is_away_no_attempt_is_burnt_and_it_is_asked_once_a_rest() {
    for kind in [
        Kind::GatewayErrorBeforeEffect,
        Kind::ErrorBeforeEffect { should_retry: None },
        Kind::ResetBeforeEffect,
    ] {
        let world = World::new().await;
        let ids = customers(&world, 40).await;
        world.faults("*", kind);
        for id in &ids[..ENOUGH] {
            assert_eq!(world.engine.lane.stopped(), None);
            assert_eq!(world.push(*id).await, Some(Pushed::Later));
        }
        let reason = world.engine.lane.stopped().unwrap();
        assert!(reason.starts_with("Stripe is away since 20"), "{reason}");
        ask_all(&world, 40 - ENOUGH as u64).await;

        for _ in 0..20 {
            world.forget_requests();
            rest().await;
            assert_eq!(world.retry().await, 0);
            assert_eq!(world.reads().len(), 1, "one request tries it");
            assert_eq!(world.retry().await, 0);
            // A rest has full jitter, so it may be over at once.
            assert!(world.reads().len() <= 2);
            assert!(world.calls().is_empty());
        }
        assert_eq!(world.engine.lane.stopped().as_ref(), Some(&reason));
        for (place, id) in ids.iter().enumerate() {
            let link = world.link(*id).await;
            // Nobody could know of the first ones yet.
            assert_eq!(link.attempts, i32::from(place < ENOUGH - 1));
            assert_eq!(link.parked_reason, None);
        }

        world.heal();
        rest().await;
        assert_eq!(world.due().await, 40);
        assert_eq!(world.engine.lane.stopped(), None);
        for id in &ids {
            world.assert_in_step(*id).await;
        }
        assert_eq!(world.in_stripe_count(), 40);
    }
}

/// The cheap read that tries the lane works, and what it is for does not.
#[tokio::test]
async fn while_only_writes_fail_the_lane_is_on_trial() {
    let world = World::new().await;
    let ids = customers(&world, 40).await;
    world.faults("POST /v1/customers", Kind::GatewayErrorBeforeEffect);
    for id in &ids[..ENOUGH] {
        world.push(*id).await;
    }
    ask_all(&world, 40 - ENOUGH as u64).await;
    let before: i32 = attempts(&world, &ids).await;
    for _ in 0..5 {
        rest().await;
        world.retry().await;
        assert!(world.engine.lane.stopped().is_some());
    }
    assert_eq!(attempts(&world, &ids).await, before);
    assert!(world.calls().len() <= ENOUGH + 5 * 32);
    world.heal();
    rest().await;
    world.retry().await;
    world.settle().await;
    for id in &ids {
        world.assert_in_step(*id).await;
    }
    assert_eq!(world.in_stripe_count(), 40);
}

async fn attempts(world: &World, ids: &[Uuid]) -> i32 {
    let mut sum = 0;
    for id in ids {
        sum += world.link(*id).await.attempts;
    }
    sum
}

#[tokio::test]
async fn the_health_page_says_since_when_stripe_is_away_and_when_it_is_tried_next() {
    let world = World::new().await;
    world.faults("*", Kind::GatewayErrorBeforeEffect);
    for id in customers(&world, ENOUGH).await {
        world.push(id).await;
    }
    let health = Health::new();
    let mut worker = JoinSet::new();
    worker.spawn(consume::run(
        world.engine.clone(),
        world.broker.clone(),
        health.component("upsync", Duration::from_secs(60)),
        CancellationToken::new(),
    ));
    until_problem(&health).await;
    let report = health.report(std::time::Instant::now());
    let detail = report.components[0].detail.clone().unwrap();
    assert!(detail.starts_with("Stripe is away since 20"), "{detail}");
    assert!(detail.contains("status 502"), "{detail}");
    assert!(detail.contains("; next try in "), "{detail}");
}

#[tokio::test]
async fn one_customer_that_always_fails_stops_the_lane_for_nobody() {
    let world = World::new().await;
    let bad = world.synced(&[("email", "bad@x.io")]).await;
    let good = world.synced(&[("email", "good@x.io")]).await;
    let path = format!("POST /v1/customers/{}", world.stripe_id(bad.id).await);
    let kind = Kind::ErrorBeforeEffect { should_retry: None };
    world.faults(&path, kind);
    world.update(bad.id, &[("name", "B")]).await;
    world.push(bad.id).await;
    for round in 0..3 * ENOUGH {
        world.retry().await;
        assert_eq!(world.engine.lane.stopped(), None);
        world.update(good.id, &[("name", &round.to_string())]).await;
        assert_eq!(world.push(good.id).await, Some(Pushed::Done));
    }
    world.assert_in_step(good.id).await;
    assert!(world.link(bad.id).await.attempts > 3);
}

/// Such as a version that Stripe does not know, which every request names.
#[tokio::test]
async fn what_everybody_is_refused_for_parks_only_a_few() {
    let world = World::new().await;
    world.faults("POST *", Kind::UnknownVersion);
    let ids = customers(&world, 20).await;
    let mut pushed = 0;
    while world.engine.lane.stopped().is_none() {
        world.push(ids[pushed]).await;
        pushed += 1;
    }
    assert_eq!(pushed, ENOUGH);
    let reason = world.engine.lane.stopped().unwrap();
    assert!(reason.contains("refuses 5 customers in a row"), "{reason}");
    for _ in 0..5 {
        rest().await;
        world.retry().await;
        assert!(world.engine.lane.stopped().is_some(), "it was on trial");
    }
    let mut parked = Vec::new();
    for id in &ids[..pushed] {
        parked.extend(world.parked(*id).await);
    }
    assert_eq!(parked.len(), ENOUGH - 1);

    world.heal();
    rest().await;
    world.retry().await;
    assert_eq!(world.engine.lane.stopped(), None);
    for id in &ids[ENOUGH..] {
        world.push(*id).await;
        world.assert_in_step(*id).await;
    }
    world.assert_in_step(ids[ENOUGH - 1]).await;
}

/// A31: a bad import, say.
#[tokio::test]
async fn many_values_that_stripe_refuses_are_parked_one_by_one_and_stop_nobody() {
    let world = World::new().await;
    let long = "x".repeat(300);
    for place in 0..3 * ENOUGH {
        let email = format!("{place}@x.io");
        let row = world.create(&[("email", &email), ("name", &long)]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        assert_eq!(world.engine.lane.stopped(), None);
    }
    let good = world.create(&[("email", "good@x.io")]).await;
    assert_eq!(world.push(good.id).await, Some(Pushed::Done));
}

/// A53: what has piled up goes at the rate that Stripe grants.
#[tokio::test]
async fn after_an_outage_everything_arrives_at_no_more_than_the_rate() {
    let mut world = World::new().await;
    let mut options = Options::new(Secret::new("sk_test_engine"), &world.stripe.url);
    options.rate = 40.0;
    options.burst = 5;
    world.engine.stripe = Stripe::new(options).unwrap();
    let ids = customers(&world, 20).await;
    world.faults("*", Kind::GatewayErrorBeforeEffect);
    for id in &ids[..ENOUGH] {
        world.push(*id).await;
    }
    ask_all(&world, 20 - ENOUGH as u64).await;
    world.heal();
    rest().await;
    world.later(Duration::from_secs(2));
    world.forget_requests();
    let started = std::time::Instant::now();
    assert_eq!(world.due().await, 20);
    let requests = world.reads().len() + world.calls().len();
    assert!(requests >= 40, "a look and a create for each");
    let least = Duration::from_secs_f64((requests - 5 - 1) as f64 / 40.0);
    assert!(started.elapsed() >= least, "{:?}", started.elapsed());
    for id in &ids {
        world.assert_in_step(*id).await;
    }
}
