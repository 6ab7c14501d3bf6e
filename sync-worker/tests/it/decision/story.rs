//! The timeline: what is told, and how much of it.

use std::time::Duration;

use entity::timeline;
use sea_orm::{EntityTrait, PaginatorTrait};
use stripe_sandbox::fault::Kind;
use sync_worker::purge::forget_timelines;

use crate::harness::{World, each_world};

/// A customer's way to Stripe and an edit's way home.
#[tokio::test]
async fn every_step_is_told_once_and_no_value_is() {
    Box::pin(each_world(async |world| {
        let row = world
            .create(&[("email", "a@x.io"), ("name", "secret")])
            .await;
        world.push(row.id).await;
        world.events().await;
        world.update(row.id, &[("phone", "123")]).await;
        world.push(row.id).await;
        world.events().await;
        let there = [
            "commit created",
            "push create",
            "outcome create done",
            "commit updated",
            "push update",
            "outcome update done",
        ];
        assert_eq!(world.story(row.id).await, there);
        world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "hidden")]);
        world.events().await;
        let story = world.story(row.id).await;
        assert_eq!(story[6..], ["drift edited", "apply taken"]);

        let rows = timeline::Entity::find()
            .all(&world.engine.db)
            .await
            .unwrap();
        let text = format!("{rows:?}");
        for value in ["a@x.io", "secret", "hidden", "123"] {
            assert!(!text.contains(value), "{value} is in {text}");
        }
        let update = rows.iter().find(|row| row.rev == Some(2)).unwrap();
        assert_eq!(update.detail.fields, [entity::fields::Field::Phone.into()]);
        let outcomes = rows
            .iter()
            .filter(|row| row.step == timeline::Step::Outcome);
        for outcome in outcomes {
            let request_id = outcome.detail.request_id.as_deref();
            assert!(request_id.is_some_and(|id| id.starts_with("req_")));
        }
    }))
    .await;
}

/// A31: what a person reads of a refusal.
#[tokio::test]
async fn a_refusal_and_a_deletion_are_told_with_their_reasons() {
    let world = World::new().await;
    let row = world
        .create(&[("email", "a@x.io"), ("name", &"x".repeat(300))])
        .await;
    world.push(row.id).await;
    assert_eq!(
        world.story(row.id).await[2],
        "outcome create parked rejected"
    );
    world.update(row.id, &[("name", "A")]).await;
    world.push(row.id).await;
    world.stripe_deletes(&world.stripe_id(row.id).await);
    world.events().await;
    let story = world.story(row.id).await;
    assert_eq!(story[story.len() - 2..], ["drift deleted", "apply deleted"]);
}

/// However long Stripe is away.
#[tokio::test]
async fn an_outage_adds_few_rows() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.faults("*", Kind::ErrorBeforeEffect { should_retry: None });
    for _ in 0..100 {
        world.retry().await;
        world.push(row.id).await;
    }
    let rows = timeline::Entity::find().count(&world.engine.db);
    let during = rows.await.unwrap();
    assert!((2..=20).contains(&during), "{during} rows");
    world.heal();
    world.settle().await;
    world.assert_in_step(row.id).await;
    let story = world.story(row.id).await;
    assert_eq!(story.last().unwrap(), "outcome create done");
}

/// A51
#[tokio::test]
async fn a_pass_over_what_is_in_step_or_parked_tells_nothing() {
    let world = World::new().await;
    world.synced(&[("email", "a@x.io")]).await;
    let row = world.synced(&[("email", "b@x.io")]).await;
    world.stripe_edits(&world.stripe_id(row.id).await, &[("email", "a@x.io")]);
    world.events().await;
    world.watch_writes().await;
    for _ in 0..3 {
        world.pass().await;
        world.settle().await;
    }
    assert!(world.writes().await.is_empty());
}

#[tokio::test]
async fn a_story_is_forgotten_after_its_time() {
    let world = World::new().await;
    let old = world.synced(&[("email", "a@x.io")]).await;
    world.later(Duration::from_secs(29 * 24 * 3600));
    let young = world.synced(&[("email", "b@x.io")]).await;
    assert_eq!(forget_timelines(&world.engine).await.unwrap(), 0);
    world.later(Duration::from_secs(2 * 24 * 3600));
    assert_eq!(forget_timelines(&world.engine).await.unwrap(), 2);
    let told = timeline::Entity::find()
        .all(&world.engine.db)
        .await
        .unwrap();
    assert!(told.iter().all(|row| row.customer_id == young.id));
    // What is not published yet is still to be seen.
    assert_eq!(world.story(old.id).await, ["commit created"]);
}
