//! An item that says what is no longer so is not done, whoever changed what.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use entity::email::Email;
use entity::fields::Fields;
use entity::{customer, write};
use platform::database::{self, Database};
use platform::steps::{Place, Script, Steps};
use sync_worker::engine::Engine;
use uuid::Uuid;

use super::*;

/// What is no longer so is seen by a check, and by the doing, which then does nothing.
async fn assert_stale(world: &World, item: &Item) {
    assert!(!is_current(&world.engine, item).await.unwrap());
    let before = (world.rows().await, world.in_stripe_count());
    world.forget_requests();
    let came = carry_out(&world.engine, item).await.unwrap();
    assert_eq!(came, Done::Stale);
    assert_eq!((world.rows().await, world.in_stripe_count()), before);
    assert_eq!(world.calls(), [] as [String; 0]);
}

#[tokio::test]
async fn a_row_that_was_edited_since() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.update(row.id, &[("name", "B")]).await;
        let item = only(&world).await;
        world.update(row.id, &[("name", "C")]).await;
        assert_stale(&world, &item).await;
    })
    .await;
}

#[tokio::test]
async fn a_customer_that_was_edited_in_stripe_since() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    let item = only(&world).await;
    world.stripe_edits(&stripe_id, &[("name", "C")]);
    assert_stale(&world, &item).await;
}

#[tokio::test]
async fn what_somebody_else_has_done_since() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let item = only(&world).await;
    world.push(row.id).await;
    assert_stale(&world, &item).await;
}

#[tokio::test]
async fn a_create_whose_customer_has_appeared_in_stripe_since() {
    let world = World::new().await;
    world.create(&[("email", "a@x.io")]).await;
    let item = only(&world).await;
    world.later(std::time::Duration::from_secs(1));
    world.stripe_creates(&[("email", "a@x.io")]);
    assert_stale(&world, &item).await;
}

#[tokio::test]
async fn an_import_whose_e_mail_a_row_has_taken_since() {
    let world = World::new().await;
    world.stripe_creates(&[("email", "a@x.io")]);
    let item = only(&world).await;
    world.create(&[("email", "a@x.io")]).await;
    world.later(std::time::Duration::from_secs(1));
    assert_stale(&world, &item).await;
}

#[tokio::test]
async fn another_customers_edit_that_waits_is_left_alone() {
    let world = World::new().await;
    let (one, other) = (
        world.synced(&[("email", "a@x.io"), ("name", "A")]).await,
        world.synced(&[("email", "b@x.io"), ("name", "B")]).await,
    );
    world.update(one.id, &[("name", "ours")]).await;
    let item = only(&world).await;
    world.update(other.id, &[("name", "later")]).await;
    assert_eq!(carry_out(&world.engine, &item).await.unwrap(), Done::Done);
    world.assert_in_step(one.id).await;
    assert_eq!(world.in_stripe(other.id).await["name"], "B");
    assert!(world.link(other.id).await.synced_rev < world.row(other.id).await.rev);
}

/// Stripe is away between the check and the doing.
#[tokio::test]
async fn what_stripe_does_not_take_is_left_to_the_worker() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let item = only(&world).await;
    let reset = stripe_sandbox::fault::Kind::ResetBeforeEffect;
    world.fault("POST /v1/customers/{id}", reset);
    let came = carry_out(&world.engine, &item).await.unwrap();
    assert_eq!(came, Done::Later);
    world.settle().await;
    world.assert_in_step(row.id).await;
}

type Action = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Has something done at one place.
struct At(&'static str, Mutex<Option<Action>>);

impl Script for At {
    fn reach(&self, place: Place) -> Action {
        let action = (place.name == self.0).then(|| self.1.lock().unwrap().take());
        action.flatten().unwrap_or_else(|| Box::pin(async {}))
    }
}

/// An application gives the customer this name while the item is being done.
fn renamed_at(world: &World, place: &'static str, id: Uuid) -> Engine {
    let rename = Box::pin(rename(world.engine.db.clone(), id));
    Engine {
        steps: Steps::scripted(Arc::new(At(place, Mutex::new(Some(rename))))),
        ..world.engine.clone()
    }
}

async fn rename(db: Database, id: Uuid) {
    let tx = database::begin(&db).await.unwrap();
    let row = customer::lock(&tx, id).await.unwrap().unwrap();
    let fields = Fields {
        name: Some("in between".to_owned()),
        ..row.fields()
    };
    let email = Email::parse(&row.email).unwrap();
    let now = row.updated_at + chrono::Duration::microseconds(1);
    write::update(&tx, &row, (&email, &fields), now, None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_edit_between_the_check_and_the_locks_leaves_the_item_undone() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs"), ("phone", "1")]);
    let item = only(&world).await;
    assert!(is_current(&world.engine, &item).await.unwrap());
    let engine = renamed_at(&world, "item: read", row.id);
    assert_eq!(carry_out(&engine, &item).await.unwrap(), Done::Stale);
    let row = world.row(row.id).await;
    assert_eq!((row.name.as_deref(), row.phone), (Some("in between"), None));
    assert_eq!(world.calls(), [] as [String; 0]);
}

#[tokio::test]
async fn an_edit_between_both_halves_is_not_sent_with_them_and_the_worker_sends_it_at_once() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    world.update(row.id, &[("description", "D")]).await;
    let item = only(&world).await;
    assert_eq!(item.steps.len(), 2);
    let engine = renamed_at(&world, "item: home", row.id);
    assert_eq!(carry_out(&engine, &item).await.unwrap(), Done::HomeOnly);
    assert_eq!(world.calls(), [] as [String; 0]);
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("1"));
    assert_eq!(world.due().await, 1);
    assert_eq!(world.shown(&stripe_id)["name"], "in between");
    world.settle().await;
    world.assert_in_step(row.id).await;
}
