//! The id that an application has for a customer, on its way to Stripe's metadata.

use std::time::Duration;

use entity::fields::Member;
use sea_orm::EntityTrait;
use stripe_sandbox::fault::Kind;
use sync_worker::upsync::Pushed;
use uuid::Uuid;

use crate::harness::{World, each_world};

async fn created(world: &World, external_id: &str) -> Uuid {
    let ids = (Some(external_id), None);
    let row = world.try_create_known(&[("email", "a@x.io")], ids).await;
    row.unwrap().id
}

async fn shown(world: &World, id: Uuid) -> Option<String> {
    let metadata = &world.in_stripe(id).await["metadata"];
    let external_id = metadata["customer_sync_external_id"].as_str();
    external_id.map(str::to_owned)
}

#[tokio::test]
async fn external_id_is_created_changed_and_cleared_in_stripe() {
    each_world(async |world| {
        let id = created(&world, "user-1").await;
        assert_eq!(world.push(id).await, Some(Pushed::Done));
        assert_eq!(shown(&world, id).await.as_deref(), Some("user-1"));
        world.settle().await;
        world.forget_requests();

        world.give_external_id(id, Some("user-2")).await;
        assert_eq!(world.push(id).await, Some(Pushed::Done));
        assert_eq!(world.calls().len(), 1);
        assert_eq!(shown(&world, id).await.as_deref(), Some("user-2"));

        world.give_external_id(id, None).await;
        world.push(id).await;
        assert_eq!(shown(&world, id).await, None);
        world.settle().await;
        assert_eq!(world.calls().len(), 2, "and nothing is sent twice");
        world.assert_in_step(id).await;
    })
    .await;
}

/// The copy of an edit in Stripe comes home before the push begins.
#[tokio::test]
async fn external_id_is_sent_also_after_a_copy_came_home() {
    let world = World::new().await;
    let id = created(&world, "user-1").await;
    world.push(id).await;
    world.settle().await;
    world.give_external_id(id, Some("user-2")).await;
    world.stripe_edits(&world.stripe_id(id).await, &[("name", "theirs")]);
    world.events().await;
    assert_eq!(world.row(id).await.name.as_deref(), Some("theirs"));
    world.settle().await;
    assert_eq!(shown(&world, id).await.as_deref(), Some("user-2"));
    world.assert_in_step(id).await;
}

/// Whether the first request was executed is not known; the second one is about the id that the row has by then.
#[tokio::test]
async fn external_id_in_doubt_is_sent_again() {
    let world = World::new().await;
    let id = created(&world, "user-1").await;
    world.push(id).await;
    world.settle().await;
    let path = format!("POST /v1/customers/{}", world.stripe_id(id).await);
    world.give_external_id(id, Some("user-2")).await;
    world.fault(&path, Kind::ResetAfterEffect);
    assert_eq!(world.push(id).await, Some(Pushed::Later));
    assert_eq!(shown(&world, id).await.as_deref(), Some("user-2"));
    world.give_external_id(id, Some("user-1")).await;
    world.later(Duration::from_secs(120));
    world.settle().await;
    assert_eq!(shown(&world, id).await.as_deref(), Some("user-1"));
    world.assert_in_step(id).await;
}

/// A database that was lost takes the ids back from Stripe. A copy of a customer, metadata and all, gets none.
#[tokio::test]
async fn imported_customers_take_their_external_id_once() {
    each_world(async |world| {
        for email in ["a@x.io", "b@x.io"] {
            world.stripe_creates(&[
                ("email", email),
                ("metadata[customer_sync_external_id]", "user-1"),
            ]);
        }
        world.pass().await;
        world.settle().await;
        let rows = world.rows().await;
        let ids: Vec<_> = rows
            .iter()
            .filter_map(|row| row.external_id.as_deref())
            .collect();
        assert_eq!((rows.len(), ids), (2, vec!["user-1"]));
        assert!(world.calls().is_empty(), "both sides agree");
        let outbox = entity::outbox::Entity::find().all(&world.engine.db).await;
        let told: Vec<_> = outbox.unwrap().into_iter().map(|row| row.fields).collect();
        let with_id = told
            .iter()
            .filter(|members| members.0.contains(&Member::ExternalId));
        assert_eq!(
            (told.len(), with_id.count()),
            (2, 1),
            "the feed tells of it"
        );
    })
    .await;
}
