//! Deletions, on either side, when several Stripe customers share an e-mail.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use entity::decide::Refused;
use entity::unmatched::Reason;
use entity::{customer, write};
use platform::database;
use platform::database::Database;
use platform::steps::{Place, Script, Steps};
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::apply::Applied;
use sync_worker::downsync::pass::run_once;
use sync_worker::downsync::publish::Drifts;
use sync_worker::engine::Engine;
use sync_worker::policy::{LinkByEmail, OnDelete, Policy};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Setup, World, each_world};

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

/// A22
#[tokio::test]
async fn row_takes_the_other_customer_when_its_own_is_deleted_in_stripe() {
    each_world(async |world| {
        let row = world
            .synced(&[("email", "a@x.io"), ("name", "ours"), ("phone", "1")])
            .await;
        let first = world.stripe_id(row.id).await;
        let twin =
            world.stripe_creates(&[("email", "a@x.io"), ("name", "twin"), ("description", "d")]);
        world.events().await;
        world.stripe_deletes(&first);
        world.events().await;
        world.settle().await;
        world.pass().await;
        world.settle().await;
        assert_eq!(world.stripe_id(row.id).await, twin);
        world.assert_in_step(row.id).await;
        let merged = world.row(row.id).await;
        assert_eq!(
            (merged.phone.as_deref(), merged.description.as_deref()),
            (Some("1"), Some("d"))
        );
        // As of any link by e-mail, the owner of the field wins and the other value is kept.
        assert_eq!(merged.name.as_deref(), Some("ours"));
        let conflict = world.conflicts().await.remove(0);
        assert_eq!(conflict.stripe_value.as_deref(), Some("twin"));
        assert_eq!(world.rows().await.len(), 1);
        assert!(world.unmatched().await.is_empty());
    })
    .await;
}

/// Whichever way the deletion is found, and whether or not the other one was read before.
#[tokio::test]
async fn other_customer_is_found_by_the_deletion_in_stripe() {
    for on_stripe_delete in [OnDelete::Delete, OnDelete::Detach] {
        for by_pass in [true, false] {
            let world = with(Policy {
                on_stripe_delete,
                ..Policy::default()
            })
            .await;
            let row = world.synced(&[("email", "a@x.io")]).await;
            let first = world.stripe_id(row.id).await;
            // The deletion is read and applied first.
            let twin = world.stripe_creates(&[("email", "a@x.io"), ("phone", "1")]);
            world.stripe_deletes(&first);
            let drift = world.read(&first).await;
            if by_pass {
                world.pass().await;
            } else {
                world.apply(&drift).await;
            }
            world.settle().await;
            assert_eq!(world.stripe_id(row.id).await, twin);
            assert_eq!(world.row(row.id).await.phone.as_deref(), Some("1"));
            world.assert_in_step(row.id).await;
            assert_eq!(world.rows().await.len(), 1);
        }
    }
}

#[tokio::test]
async fn edit_that_waits_goes_to_the_other_customer() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let first = world.stripe_id(row.id).await;
    let twin = world.stripe_creates(&[("email", "a@x.io"), ("name", "A")]);
    world.events().await;
    world.update(row.id, &[("name", "B")]).await;
    world.stripe_deletes(&first);
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.stripe_id(row.id).await, twin);
    assert_eq!(world.shown(&twin)["name"], "B");
    world.assert_in_step(row.id).await;
}

/// A22
#[tokio::test]
async fn row_is_parked_when_several_others_share_its_email() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "ours")]).await;
        let first = world.stripe_id(row.id).await;
        let twins =
            ["one", "two"].map(|name| world.stripe_creates(&[("email", "a@x.io"), ("name", name)]));
        world.events().await;
        world.stripe_deletes(&first);
        for _ in 0..2 {
            world.events().await;
            world.settle().await;
            world.pass().await;
            assert_eq!(
                world.parked(row.id).await.as_deref(),
                Some("deleted_in_stripe")
            );
            assert!(!world.row(row.id).await.is_deleted());
            let entries = world.unmatched().await;
            assert_eq!(entries.len(), 2);
            for entry in entries {
                assert_eq!(
                    (entry.reason, entry.customer_id),
                    (Reason::Review, Some(row.id))
                );
            }
        }
        world.link_unmatched(&twins[1], row.id).await.unwrap();
        world.settle().await;
        assert_eq!(world.stripe_id(row.id).await, twins[1]);
        world.assert_in_step(row.id).await;
        world.pass().await;
        let entry = world.unmatched().await.remove(0);
        assert_eq!(entry.reason, Reason::EmailTaken);
        let late = world.link_unmatched(&twins[0], row.id).await.unwrap_err();
        assert!(matches!(late, Refused::Linked), "{late:?}");
    })
    .await;
}

#[tokio::test]
async fn last_one_left_of_several_takes_the_place() {
    for by_dismissal in [true, false] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io")]).await;
        let first = world.stripe_id(row.id).await;
        let twins = [1, 2].map(|_| world.stripe_creates(&[("email", "a@x.io")]));
        world.events().await;
        world.stripe_deletes(&first);
        world.events().await;
        world.settle().await;
        if by_dismissal {
            world.dismiss_unmatched(&twins[0]).await.unwrap();
        } else {
            world.stripe_deletes(&twins[0]);
            world.events().await;
        }
        world.pass().await;
        world.settle().await;
        assert_eq!(world.stripe_id(row.id).await, twins[1]);
        world.assert_in_step(row.id).await;
    }
}

#[tokio::test]
async fn review_leaves_the_other_customer_to_a_person() {
    let world = with(Policy {
        link_by_email: LinkByEmail::Review,
        ..Policy::default()
    })
    .await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let first = world.stripe_id(row.id).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.events().await;
    world.stripe_deletes(&first);
    world.events().await;
    world.settle().await;
    assert_eq!(
        world.parked(row.id).await.as_deref(),
        Some("deleted_in_stripe")
    );
    assert_eq!(world.unmatched().await[0].reason, Reason::Review);
    world.link_unmatched(&twin, row.id).await.unwrap();
    world.settle().await;
    assert_eq!(world.stripe_id(row.id).await, twin);
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn customer_of_another_row_takes_no_place() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let other = world.synced(&[("email", "b@x.io")]).await;
    let others = world.stripe_id(other.id).await;
    world.stripe_edits(&others, &[("email", "a@x.io")]);
    world.events().await;
    assert_eq!(world.parked(other.id).await.as_deref(), Some("email_taken"));
    world.stripe_deletes(&world.stripe_id(row.id).await);
    world.events().await;
    world.settle().await;
    world.pass().await;
    assert!(world.row(row.id).await.is_deleted());
    assert_eq!(world.stripe_id(other.id).await, others);
    assert_eq!(world.row(other.id).await.email, "a@x.io");
}

#[tokio::test]
async fn dismissed_duplicate_takes_no_place_and_is_not_imported() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.events().await;
    world.dismiss_unmatched(&twin).await.unwrap();
    world.stripe_deletes(&world.stripe_id(row.id).await);
    world.events().await;
    assert_kept_out(&world, &twin, row.id).await;
}

#[tokio::test]
async fn deletion_in_stripe_waits_until_the_others_are_listed() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let first = world.stripe_id(row.id).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.stripe_deletes(&first);
    let drift = world.read(&first).await;
    world.faults("GET /v1/customers", Kind::GatewayErrorBeforeEffect);
    assert_eq!(world.apply(&drift).await, Applied::PutAside);
    assert!(!world.row(row.id).await.is_deleted());
    world.heal();
    world.settle().await;
    assert_eq!(world.stripe_id(row.id).await, twin);
    world.assert_in_step(row.id).await;
}

/// A copy of the first one that was read before it was deleted comes late.
#[tokio::test]
async fn old_copy_of_the_deleted_customer_is_read_again_and_forgotten() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let first = world.stripe_id(row.id).await;
    let twin = world.stripe_creates(&[("email", "a@x.io")]);
    world.events().await;
    let old = world.read(&first).await;
    world.stripe_deletes(&first);
    world.events().await;
    world.settle().await;
    assert_eq!(world.stripe_id(row.id).await, twin);
    assert_eq!(world.apply(&old).await, Applied::PutAside);
    world.settle().await;
    assert!(world.unmatched().await.is_empty());
    world.assert_in_step(row.id).await;
}
