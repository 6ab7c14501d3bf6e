//! The database's clock steps, forward and back: nothing is lost or reverted, and nothing waits longer than without it.

use std::time::Duration;

use chrono::TimeDelta;
use entity::{downsync_state, outbox};
use platform::clock::Clock;
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::apply::Applied;
use sync_worker::downsync::recheck;
use sync_worker::observe::store::Observed;
use sync_worker::upsync::Pushed;
use sync_worker::upsync::begin::{Begun, begin};
use sync_worker::upsync::plan::Plan;

use crate::harness::World;

const UPDATE: &str = "POST /v1/customers/{id}";

/// As far as a clock that was never set may be off.
const STEPS: [TimeDelta; 3] = [
    TimeDelta::minutes(10),
    TimeDelta::minutes(-10),
    TimeDelta::days(-400),
];

fn step(world: &World, by: TimeDelta) {
    world.engine.clock.step(by);
}

/// A52
#[tokio::test]
async fn stale_copy_is_deferred_whatever_the_clock_does() {
    for by in STEPS {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stale = world.read(&world.stripe_id(row.id).await).await;
        step(&world, by);
        world.update(row.id, &[("name", "B")]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Done));
        assert_eq!(world.apply(&stale).await, Applied::PutAside);
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    }
}

/// A52
#[tokio::test]
async fn fresh_copy_counts_whatever_the_clock_does() {
    for by in STEPS {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.update(row.id, &[("name", "B")]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Done));
        step(&world, by);
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("phone", "1")]);
        let fresh = world.read(&stripe_id).await;
        let applied = world.apply(&fresh).await;
        assert_eq!(applied, Applied::Observed(Observed::Taken));
        // And again, because the copy before it was read by another clock.
        step(&world, -by);
        world.stripe_edits(&stripe_id, &[("phone", "2")]);
        let fresher = world.read(&stripe_id).await;
        assert_eq!(world.apply(&fresh).await, Applied::PutAside);
        let applied = world.apply(&fresher).await;
        assert_eq!(applied, Applied::Observed(Observed::Taken));
    }
}

/// The next process counts on above what the last one has stored, though its clock is behind.
#[tokio::test]
async fn moments_go_on_after_a_restart_with_a_clock_set_back() {
    let mut world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let acked = world.link(row.id).await.acked_order.unwrap();
    world.engine.clock = Clock::manual(world.engine.clock.now() - TimeDelta::minutes(10));
    world.engine.resume_moments().await.unwrap();
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    let fresh = world.read(&stripe_id).await;
    assert!(fresh.read_at.order > acked);
    let applied = world.apply(&fresh).await;
    assert_eq!(applied, Applied::Observed(Observed::Taken));
}

#[tokio::test]
async fn retry_is_due_after_the_clock_was_set_back() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    world.fault(UPDATE, Kind::ErrorBeforeEffect { should_retry: None });
    assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    assert_eq!(world.due().await, 0);
    step(&world, TimeDelta::minutes(-10));
    assert_eq!(world.due().await, 1);
    world.settle().await;
    assert_eq!(world.in_stripe(row.id).await["name"], "B");
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn push_of_a_dead_process_is_taken_over_after_a_step_back() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    step(&world, TimeDelta::minutes(10));
    let begun = begin(&world.engine, row.id).await.unwrap();
    assert!(matches!(begun, Begun::Push(_)));
    step(&world, TimeDelta::minutes(-10));
    assert_eq!(world.due().await, 1);
    assert_eq!(world.in_stripe_count(), 1);
    world.assert_in_step(row.id).await;
}

/// As after a wait for the lock, or on another machine: its clock is a little behind.
///
/// A68
#[tokio::test]
async fn push_that_has_just_begun_is_under_way_by_a_slower_clock() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let stale = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    let begun = begin(&world.engine, row.id).await.unwrap();
    assert!(matches!(begun, Begun::Push(_)));
    step(&world, TimeDelta::seconds(-2));
    let again = begin(&world.engine, row.id).await.unwrap();
    assert!(matches!(again, Begun::Nothing(Plan::Busy)), "{again:?}");
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
}

#[tokio::test]
async fn deferred_copy_is_read_again_after_a_step_back() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let stale = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
    step(&world, TimeDelta::minutes(-10));
    assert_eq!(recheck::run_once(&world.engine).await.unwrap(), 1);
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("1"));
    // A time that is still to come does not keep the next copy from asking for a read.
    world.update(row.id, &[("name", "C")]).await;
    world.push(row.id).await;
    step(&world, TimeDelta::minutes(10));
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
    step(&world, TimeDelta::minutes(-10));
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
    assert_eq!(world.recheck().await, 1);
}

/// Nobody knows how long ago a push was acknowledged whose time is still to come: so the customer is read first.
#[tokio::test]
async fn late_push_reads_first_after_a_step_back() {
    let world = World::new().await;
    step(&world, TimeDelta::minutes(10));
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    step(&world, TimeDelta::minutes(-10));
    world.update(row.id, &[("name", "of the row")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "of Stripe")]);
    world.later(Duration::from_secs(15));
    world.push(row.id).await;
    world.settle_without_events().await;
    let conflicts = world.conflicts().await;
    let kept = conflicts
        .iter()
        .map(|conflict| conflict.stripe_value.as_deref());
    assert_eq!(kept.collect::<Vec<_>>(), [Some("of Stripe")]);
}

/// Nobody knows how long ago webhooks were found to deliver, if the time of that is still to come.
#[tokio::test]
async fn webhooks_proven_before_a_step_back_cover_nothing() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let proven_at = Expr::value(Some(world.now().await));
    downsync_state::Entity::update_many()
        .col_expr(downsync_state::Column::WebhooksProvenAt, proven_at)
        .exec(&world.engine.db)
        .await
        .unwrap();
    for (name, by, reads) in [("B", 0, 0), ("C", -10, 1)] {
        step(&world, TimeDelta::minutes(by));
        world.update(row.id, &[("name", name)]).await;
        world.forget_requests();
        world.push(row.id).await;
        assert_eq!(world.reads().len(), reads, "{name}");
    }
}

#[tokio::test]
async fn pass_finds_a_deletion_after_a_step_back() {
    let world = World::new().await;
    step(&world, TimeDelta::minutes(10));
    let row = world.synced(&[("email", "a@x.io")]).await;
    let other = world.synced(&[("email", "b@x.io")]).await;
    step(&world, TimeDelta::minutes(-10));
    world.stripe_deletes(&world.stripe_id(row.id).await);
    assert_eq!(world.pass().await.deletions, 1);
    assert!(world.row(row.id).await.is_deleted());
    assert!(!world.row(other.id).await.is_deleted());
}

/// The copy shows an e-mail that the customer has given up since. It was read before the row got that e-mail, though
/// the times say otherwise.
#[tokio::test]
async fn stale_copy_is_not_linked_by_email_after_a_step_back() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "Of Stripe")]);
    step(&world, TimeDelta::minutes(10));
    let stale = world.read(&stripe_id).await;
    step(&world, TimeDelta::minutes(-10));
    world.stripe_edits(&stripe_id, &[("email", "b@x.io")]);
    let row = world
        .create(&[("email", "a@x.io"), ("name", "Of the row")])
        .await;
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    assert_eq!(world.in_stripe_count(), 2);
    assert_ne!(world.stripe_id(row.id).await, stripe_id);
}

#[tokio::test]
async fn missed_customer_is_found_after_a_step_back() {
    let world = World::new().await;
    step(&world, TimeDelta::minutes(10));
    let row = world.create(&[("email", "a@x.io")]).await;
    outbox::Entity::delete_many()
        .exec(&world.engine.db)
        .await
        .unwrap();
    step(&world, TimeDelta::minutes(-10));
    assert_eq!(world.missed().await, 1);
    world.assert_in_step(row.id).await;
}
