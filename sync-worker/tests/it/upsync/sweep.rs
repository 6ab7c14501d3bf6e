//! Changes whose messages the broker has lost are found by the sweep, and those on their way are not.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::message::{Changed, Origin, SOURCE, UPSYNC};
use entity::timeline::{self, Detail, Step};
use platform::broker::Message;
use platform::database;
use sea_orm::EntityTrait;
use sync_worker::upsync::sweep::{self, Swept};
use uuid::Uuid;

use crate::harness::World;

/// Longer than a message may be under way.
const LONG: Duration = Duration::from_secs(180);

async fn sweep(world: &World) -> Swept {
    sweep::run_once(&world.engine, &world.broker).await.unwrap()
}

/// The relay has published everything.
async fn publish_all(world: &World) {
    let delete = entity::outbox::Entity::delete_many();
    delete.exec(&world.engine.db).await.unwrap();
}

async fn note_published(world: &World, id: Uuid, at: DateTime<Utc>) {
    let tx = database::begin(&world.engine.db).await.unwrap();
    let note = timeline::note(&tx, (id, Some(1)), Step::Publish, Detail::default(), at);
    note.await.unwrap();
    tx.commit().await.unwrap();
}

/// A57, A67
#[tokio::test]
async fn a_lost_message_is_found_and_its_change_is_pushed() {
    let world = World::new().await;
    let edited = world.synced(&[("email", "b@x.io"), ("name", "B")]).await;
    let created = world.create(&[("email", "a@x.io")]).await;
    world.update(edited.id, &[("name", "C")]).await;
    publish_all(&world).await;
    world.later(LONG);
    assert_eq!(sweep(&world).await, Swept::Lost(2));
    world.due().await;
    world.assert_in_step(created.id).await;
    world.assert_in_step(edited.id).await;
    assert_eq!(sweep(&world).await, Swept::Nothing);
}

#[tokio::test]
async fn a_message_that_is_still_to_come_is_not_lost() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.later(LONG);
    assert_eq!(sweep(&world).await, Swept::Nothing, "it is in the outbox");
    publish_all(&world).await;
    note_published(&world, row.id, world.now().await).await;
    assert_eq!(
        sweep(&world).await,
        Swept::Nothing,
        "it was published just now"
    );
    world.later(LONG);
    assert_eq!(sweep(&world).await, Swept::Lost(1));

    let young = world.create(&[("email", "b@x.io")]).await;
    publish_all(&world).await;
    assert_eq!(sweep(&world).await, Swept::Nothing, "it is young");
    world.later(LONG);
    assert_eq!(sweep(&world).await, Swept::Lost(1));
    world.assert_in_step(young.id).await;
}

/// The clock was ten minutes ahead when the message was published.
#[tokio::test]
async fn message_published_before_a_step_back_can_be_lost() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    publish_all(&world).await;
    let ahead = world.now().await + Duration::from_secs(600);
    note_published(&world, row.id, ahead).await;
    world.later(LONG);
    assert_eq!(sweep(&world).await, Swept::Lost(1));
    world.due().await;
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn a_change_from_stripe_in_the_outbox_hides_no_lost_message() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    publish_all(&world).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    world.events().await;
    let published = world.published(row.id).await;
    assert_eq!(published, [(3, Origin::Stripe)]);
    world.later(LONG);
    world.due().await;
    world.assert_in_step(row.id).await;
    assert_eq!(sweep(&world).await, Swept::Nothing);
}

/// A67
#[tokio::test]
async fn messages_of_a_backlog_are_not_lost() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    publish_all(&world).await;
    let message = Message {
        id: format!("{}/1", row.id),
        kind: String::new(),
        source: SOURCE.to_owned(),
        subject: row.id.to_string(),
        schema: None,
        time: row.created_at,
        traceparent: None,
        body: Changed::of(&row, Origin::Application)
            .to_json()
            .to_string()
            .into(),
    };
    let mut publisher = world.broker.publisher().await.unwrap();
    publisher.send(UPSYNC, message);
    world.later(LONG);
    assert_eq!(sweep(&world).await, Swept::Nothing);
    world.later(5 * LONG);
    assert_eq!(sweep(&world).await, Swept::Late(1));
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn no_message_is_lost_while_pushes_stand_still() {
    let world = World::new().await;
    world.create(&[("email", "a@x.io")]).await;
    publish_all(&world).await;
    world.later(LONG);
    world.engine.lane.hold();
    assert_eq!(sweep(&world).await, Swept::Nothing);
}
