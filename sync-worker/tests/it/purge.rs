//! What is forgotten in the end, and that nothing comes of it.

use std::time::Duration;

use entity::{conflict, customer, outbox, stripe_event, stripe_link};
use sea_orm::ActiveValue::Set;
use sea_orm::{EntityTrait, IntoActiveModel, PaginatorTrait};
use stripe_sandbox::fault::Kind;
use sync_worker::policy::{OnDelete, Policy};
use sync_worker::purge::{self, Purged};
use uuid::Uuid;

use crate::harness::{Setup, World};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn purge(world: &World) -> u64 {
    purge::run_once(&world.engine).await.unwrap().tombstones
}

/// A customer that was deleted here, and therefore in Stripe; Stripe's id.
async fn buried(world: &World) -> (Uuid, String) {
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.delete(row.id).await;
    world.push(row.id).await;
    world.events().await;
    forget_outbox(world).await;
    (row.id, stripe_id)
}

async fn forget_outbox(world: &World) {
    let outbox = outbox::Entity::delete_many();
    outbox.exec(&world.engine.db).await.unwrap();
}

async fn is_there(world: &World, id: Uuid) -> bool {
    let db = &world.engine.db;
    let row = customer::find(db, id).await.unwrap();
    let link = stripe_link::find(db, id).await.unwrap();
    assert_eq!(row.is_some(), link.is_some());
    row.is_some()
}

/// An event from the time when the customer lived arrives once more, under an id that nobody knows.
async fn late_event(world: &World, stripe_id: &str, kind: &str) {
    let event = stripe_event::ActiveModel {
        id: Set(format!("evt_{}", Uuid::new_v4().simple())),
        kind: Set(kind.to_owned()),
        stripe_id: Set(stripe_id.to_owned()),
        created: Set(1_800_000_000),
        copy: Set(None),
        replaced: Set(None),
        received_at: Set(world.now().await),
        processed_at: Set(None),
        source: Set("webhook".to_owned()),
    };
    let db = &world.engine.db;
    stripe_event::Entity::insert(event)
        .exec_without_returning(db)
        .await
        .unwrap();
}

/// A1, A42
#[tokio::test]
async fn an_event_of_a_customer_that_was_deleted_long_ago_revives_nothing() {
    for (days, is_purged) in [(20, false), (44, false), (46, true)] {
        let world = World::new().await;
        let (id, stripe_id) = buried(&world).await;
        world.later(DAY * days);
        assert_eq!(purge(&world).await, u64::from(is_purged));
        assert_eq!(is_there(&world, id).await, !is_purged);
        for kind in ["customer.created", "customer.updated", "customer.deleted"] {
            late_event(&world, &stripe_id, kind).await;
        }
        assert_eq!(world.inbox().await.events, 3);
        // The message about it comes late, too.
        assert_eq!(world.push(id).await, None);
        world.pass().await;
        assert!(world.rows().await.is_empty());
        assert!(world.unmatched().await.is_empty());
        assert_eq!(is_there(&world, id).await, !is_purged);
        assert_eq!(world.in_stripe_count(), 0);
    }
}

#[tokio::test]
async fn the_conflicts_of_a_tombstone_go_with_it_and_the_living_stay() {
    let world = World::new().await;
    let living = world.synced(&[("email", "b@x.io")]).await;
    let (id, _) = buried(&world).await;
    let clash = conflict::ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(id),
        field: Set("name".to_owned()),
        base: Set(None),
        database_value: Set(None),
        stripe_value: Set(None),
        winner: Set(conflict::Winner::Database),
        created_at: Set(world.now().await),
        resolved_at: Set(Some(world.now().await)),
        ..Default::default()
    };
    let db = &world.engine.db;
    let insert = conflict::Entity::insert(clash);
    insert.exec_without_returning(db).await.unwrap();
    world.later(DAY * 46);
    assert_eq!(purge(&world).await, 1);
    assert_eq!(conflict::Entity::find().count(db).await.unwrap(), 0);
    assert!(is_there(&world, living.id).await);
    let nothing = Purged::default();
    assert_eq!(purge::run_once(&world.engine).await.unwrap(), nothing);
}

/// A delete that Stripe does not take yet.
#[tokio::test]
async fn a_tombstone_stays_while_anything_is_pending_for_it() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.faults("*", Kind::GatewayErrorBeforeEffect);
    world.delete(row.id).await;
    world.push(row.id).await;
    forget_outbox(&world).await;
    world.later(DAY * 46);
    assert_eq!(purge(&world).await, 0);
    // Only now does Stripe raise the event of the deletion.
    world.heal();
    world.due().await;
    assert_eq!(purge(&world).await, 0);
    world.later(DAY * 46);
    assert_eq!(purge(&world).await, 1);
}

#[tokio::test]
async fn a_tombstone_stays_while_its_change_is_to_be_published_or_a_copy_to_be_read_again() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.delete(row.id).await;
    world.push(row.id).await;
    world.later(DAY * 46);
    assert_eq!(purge(&world).await, 0);
    forget_outbox(&world).await;
    let mut link = world.link(row.id).await.into_active_model();
    link.recheck_at = Set(Some(world.now().await));
    let db = &world.engine.db;
    stripe_link::Entity::update(link).exec(db).await.unwrap();
    assert_eq!(purge(&world).await, 0);
    let mut link = world.link(row.id).await.into_active_model();
    link.recheck_at = Set(None);
    stripe_link::Entity::update(link).exec(db).await.unwrap();
    assert_eq!(purge(&world).await, 1);
}

/// A1: without the tombstone it would come home as a new customer.
#[tokio::test]
async fn a_tombstone_stays_while_a_second_customer_of_stripes_names_it() {
    let world = World::new().await;
    let (id, _) = buried(&world).await;
    let twin = world.stripe_creates(&[
        ("email", "a@x.io"),
        ("metadata[customer_sync_id]", &id.to_string()),
    ]);
    world.events().await;
    assert_eq!(world.unmatched().await.len(), 1);
    world.later(DAY * 46);
    assert_eq!(purge(&world).await, 0);
    world.pass().await;
    assert!(world.rows().await.is_empty());
    world.stripe_deletes(&twin);
    late_event(&world, &twin, "customer.deleted").await;
    world.inbox().await;
    assert!(world.unmatched().await.is_empty());
    assert_eq!(purge(&world).await, 1);
}

/// The mark in Stripe's metadata outlives the tombstone.
#[tokio::test]
async fn a_customer_that_was_let_go_of_comes_home_only_when_its_mark_is_taken_away() {
    let policy = Policy {
        on_database_delete: OnDelete::Detach,
        ..Policy::default()
    };
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    let world = World::with(setup).await;
    let (id, stripe_id) = buried(&world).await;
    assert_eq!(world.in_stripe_count(), 1);
    world.later(DAY * 46);
    assert_eq!(purge(&world).await, 1);
    late_event(&world, &stripe_id, "customer.updated").await;
    world.inbox().await;
    world.pass().await;
    world.stripe_edits(&stripe_id, &[("name", "Z")]);
    world.pass().await;
    assert!(world.rows().await.is_empty());

    world.stripe_edits(&stripe_id, &[("metadata[customer_sync_detached]", "")]);
    world.pass().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 1);
    assert_ne!(rows[0].id, id);
    world.settle_without_events().await;
}
