//! Deletions of rows when several Stripe customers share their e-mail.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use entity::unmatched::Reason;
use entity::{customer, write};
use platform::database;
use platform::database::Database;
use platform::steps::{Place, Script, Steps};
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::pass::run_once;
use sync_worker::downsync::publish::Drifts;
use sync_worker::engine::Engine;
use sync_worker::policy::{OnDelete, Policy};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Setup, World, each_world};

mod substitute;

async fn with(policy: Policy) -> World {
    World::with(Setup {
        policy,
        ..Setup::default()
    })
    .await
}

async fn assert_kept_out(world: &World, stripe_id: &str, row: Uuid) {
    for _ in 0..2 {
        world.settle().await;
        world.pass().await;
        assert!(world.rows().await.is_empty());
        let entries = world.unmatched().await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].stripe_id, stripe_id);
        assert_eq!(
            (entries[0].reason, entries[0].customer_id),
            (Reason::CustomerDeleted, Some(row))
        );
        assert_eq!(entries[0].recheck_at, None);
    }
}

/// A22
#[tokio::test]
async fn deleted_customer_is_not_recreated_from_its_duplicate() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "ours")]).await;
        let twin = world.stripe_creates(&[("email", "A@x.io"), ("name", "twin")]);
        world.events().await;
        world.delete(row.id).await;
        world.push(row.id).await;
        assert_kept_out(&world, &twin, row.id).await;
        world.assert_gone(row.id).await;
        // An edit in Stripe is no decision about it.
        world.stripe_edits(&twin, &[("name", "still the twin")]);
        world.events().await;
        assert_kept_out(&world, &twin, row.id).await;

        world.retry_unmatched(&twin).await.unwrap();
        world.settle().await;
        let rows = world.rows().await;
        assert_eq!(rows.len(), 1);
        assert_ne!(rows[0].id, row.id);
        assert_eq!(world.stripe_id(rows[0].id).await, twin);
        assert!(world.unmatched().await.is_empty());
    })
    .await;
}

/// The duplicate was created between two polls, and the deletion comes before the next one.
#[tokio::test]
async fn duplicate_that_nobody_has_read_is_found_by_the_deletion() {
    for on_database_delete in [OnDelete::Delete, OnDelete::Detach] {
        for by_pass in [true, false] {
            let world = with(Policy {
                on_database_delete,
                ..Policy::default()
            })
            .await;
            let row = world.synced(&[("email", "a@x.io")]).await;
            let twin = world.stripe_creates(&[("email", "a@x.io")]);
            world.delete(row.id).await;
            world.push(row.id).await;
            if by_pass {
                world.pass().await;
            }
            assert_kept_out(&world, &twin, row.id).await;
        }
    }
}

/// Until the deletion has reached Stripe, nothing tells a duplicate from a customer who signs up again.
#[tokio::test]
async fn duplicate_waits_while_the_deletion_is_under_way() {
    for by_pass in [true, false] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io")]).await;
        let twin = world.stripe_creates(&[("email", "a@x.io")]);
        world.delete(row.id).await;
        if by_pass {
            world.pass().await;
        } else {
            world.events().await;
        }
        let entry = world.unmatched().await.remove(0);
        assert_eq!(entry.reason, Reason::CustomerDeleted);
        world.push(row.id).await;
        assert_kept_out(&world, &twin, row.id).await;
        world.assert_gone(row.id).await;
    }
}

/// The duplicate is deleted in Stripe before the deletion of the row lists it; a copy of it that was read before comes
/// after both.
#[tokio::test]
async fn old_copy_of_a_duplicate_is_not_imported_after_the_deletion() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io")]).await;
        let twin = world.stripe_creates(&[("email", "a@x.io")]);
        let old = world.read(&twin).await;
        world.stripe_deletes(&twin);
        world.delete(row.id).await;
        world.push(row.id).await;
        world.apply(&old).await;
        assert!(world.rows().await.is_empty());
        world.settle().await;
        assert!(world.unmatched().await.is_empty());
        assert!(world.rows().await.is_empty());
    })
    .await;
}

type Action = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Deletes a row at one place.
struct DeleteAt(&'static str, Mutex<Option<Action>>);

impl Script for DeleteAt {
    fn reach(&self, place: Place) -> Action {
        let action = (place.name == self.0).then(|| self.1.lock().unwrap().take());
        action.flatten().unwrap_or_else(|| Box::pin(async {}))
    }
}

async fn delete(db: Database, id: Uuid) {
    let tx = database::begin(&db).await.unwrap();
    let row = customer::lock(&tx, id).await.unwrap().unwrap();
    let now = row.updated_at + chrono::Duration::microseconds(1);
    write::delete(&tx, &row, now, None).await.unwrap();
    tx.commit().await.unwrap();
}

/// The row lives when the page is compared with the database, and is deleted before the insert.
#[tokio::test]
async fn deletion_during_a_bulk_import_keeps_the_duplicate_out() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.stripe_creates(&[("email", "b@x.io")]);
    let action: Action = Box::pin(delete(world.engine.db.clone(), row.id));
    let script = DeleteAt("pass: import", Mutex::new(Some(action)));
    let engine = Engine {
        steps: Steps::scripted(Arc::new(script)),
        ..world.engine.clone()
    };
    let mut drifts = Drifts::new(world.broker.clone());
    run_once(&engine, &mut drifts, &CancellationToken::new())
        .await
        .unwrap();
    world.push(row.id).await;
    world.settle().await;
    world.pass().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].email, "b@x.io");
    let entry = world.unmatched().await.remove(0);
    assert_eq!(
        (entry.stripe_id, entry.reason),
        (twin, Reason::CustomerDeleted)
    );
}

#[tokio::test]
async fn deletion_waits_until_the_duplicates_are_listed() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.delete(row.id).await;
    world.faults("GET /v1/customers", Kind::GatewayErrorBeforeEffect);
    world.push(row.id).await;
    assert!(world.calls().is_empty(), "nothing is deleted");
    world.heal();
    world.retry().await;
    assert_kept_out(&world, &twin, row.id).await;
    world.assert_gone(row.id).await;
}

/// The customer is deleted on both sides, and Stripe's deletion is read before ours is sent.
#[tokio::test]
async fn deletion_on_both_sides_keeps_the_duplicate_out() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let first = world.stripe_id(row.id).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.delete(row.id).await;
    world.stripe_deletes(&first);
    let drift = world.read(&first).await;
    world.apply(&drift).await;
    assert_kept_out(&world, &twin, row.id).await;
}

#[tokio::test]
async fn customer_that_signs_up_again_after_a_deletion_is_imported() {
    for by_pass in [true, false] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io")]).await;
        let twin = world.stripe_creates(&[("email", "a@x.io"), ("name", "twin")]);
        world.delete(row.id).await;
        world.push(row.id).await;
        let again = world.stripe_creates(&[("email", "a@x.io"), ("name", "again")]);
        if by_pass {
            world.pass().await;
        }
        world.settle().await;
        let rows = world.rows().await;
        assert_eq!(rows.len(), 1, "by pass: {by_pass}");
        assert_eq!(world.stripe_id(rows[0].id).await, again);
        world.pass().await;
        let entry = world.unmatched().await.remove(0);
        assert_eq!((entry.stripe_id, entry.reason), (twin, Reason::EmailTaken));
    }
}

#[tokio::test]
async fn duplicate_becomes_the_customer_that_is_created_here_again() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.delete(row.id).await;
    world.push(row.id).await;
    world.settle().await;
    let again = world.create(&[("email", "a@x.io")]).await;
    world.push(again.id).await;
    world.settle().await;
    assert_eq!(world.stripe_id(again.id).await, twin);
    assert!(world.unmatched().await.is_empty());
    world.assert_in_step(again.id).await;
}

#[tokio::test]
async fn retry_before_the_deletion_does_not_release_the_duplicate() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.events().await;
    world.retry_unmatched(&twin).await.unwrap();
    world.delete(row.id).await;
    world.push(row.id).await;
    assert_kept_out(&world, &twin, row.id).await;
    world.dismiss_unmatched(&twin).await.unwrap();
    assert_kept_out(&world, &twin, row.id).await;
    assert!(world.unmatched().await[0].dismissed_at.is_some());
}
