//! A side that is restored from a backup: revisions are handed out again, and nothing that the other side has is lost.

use std::time::Duration;

use entity::conflict::Winner;
use entity::unmatched::Reason;
use entity::{customer, downsync_state};
use platform::test_support::{TestDatabase, each_database};
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;

use crate::harness::World;
use crate::harness::restore::{Backup, Restored};

/// Who writes first after the restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Nobody,
    Here,
    There,
}

const FIRST: [First; 3] = [First::Nobody, First::Here, First::There];

async fn on_sqlite(folder: &tempfile::TempDir) -> World {
    World::on_files(platform::test_support::sqlite().await, folder).await
}

/// Both sides had agreed on A at the backup, and on D since.
async fn moved_on(
    database: TestDatabase,
    folder: &tempfile::TempDir,
) -> (World, customer::Model, Backup) {
    let world = World::on_files(database, folder).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let backup = world.back_up().await;
    for name in ["B", "C", "D"] {
        world.update(row.id, &[("name", name)]).await;
        world.push(row.id).await;
    }
    world.events().await;
    world.assert_in_step(row.id).await;
    (world, row, backup)
}

/// Raises the row to a rev that was handed out before, and beyond.
async fn write_here(world: &World, row: &customer::Model) {
    for round in 1..=4 {
        let name = format!("here {round}");
        world.update(row.id, &[("name", &name)]).await;
    }
}

async fn come_to_rest(world: &World, row: &customer::Model) {
    world.push(row.id).await;
    world.settle().await;
    world.later(Duration::from_secs(1));
    world.pass().await;
    world.settle().await;
    world.assert_in_step(row.id).await;
}

/// Edits go to either side as ever.
async fn assert_works(world: &World, row: &customer::Model) {
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "E")]).await;
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["name"], "E");
    for name in ["F", "E", "D"] {
        world.stripe_edits(&stripe_id, &[("name", name)]);
        world.settle().await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some(name));
    }
    world.assert_in_step(row.id).await;
}

/// A21: by copies of the SQLite file and of the sandbox's, by pg_dump and pg_restore.
///
/// A64
#[tokio::test]
async fn restored_side_takes_or_keeps_what_the_other_has() {
    let scenarios = [Restored::Database, Restored::Stripe, Restored::Both];
    for restored in scenarios {
        for first in FIRST {
            Box::pin(each_database(async |database| {
                let folder = tempfile::tempdir().unwrap();
                let (world, row, backup) = moved_on(database, &folder).await;
                let world = world.restored(&backup, restored).await;
                match first {
                    First::Nobody => {}
                    First::Here => write_here(&world, &row).await,
                    First::There => {
                        let stripe_id = world.stripe_id(row.id).await;
                        world.stripe_edits(&stripe_id, &[("name", "there")]);
                    }
                }
                come_to_rest(&world, &row).await;
                let name = world.row(row.id).await.name;
                let expected = match (first, restored) {
                    (First::Here, _) => "here 4",
                    (First::There, _) => "there",
                    (First::Nobody, Restored::Both) => "A",
                    (First::Nobody, _) => "D",
                };
                assert_eq!(name.as_deref(), Some(expected), "{restored:?} {first:?}");
                let conflicts = world.conflicts().await;
                let is_conflict = (restored, first) == (Restored::Database, First::Here);
                assert_eq!(
                    conflicts.len(),
                    usize::from(is_conflict),
                    "{restored:?} {first:?}"
                );
                if let Some(conflict) = conflicts.first() {
                    assert_eq!(conflict.stripe_value.as_deref(), Some("D"));
                    assert_eq!(conflict.database_value.as_deref(), Some("here 4"));
                    assert_eq!(conflict.winner, Winner::Database);
                }
                assert_works(&world, &row).await;
            }))
            .await;
        }
    }
}

/// A21: the restored database believes that webhooks deliver, so its update replaces what it has lost unread.
///
/// A64
#[tokio::test]
async fn lost_value_replaced_unread_is_kept_as_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let database = platform::test_support::sqlite().await;
    let (world, row, backup) = moved_on(database, &folder).await;
    let world = world.restored(&backup, Restored::Database).await;
    let now = world.now().await;
    downsync_state::Entity::update_many()
        .col_expr(downsync_state::Column::WebhooksProvenAt, Expr::value(now))
        .exec(&world.engine.db)
        .await
        .unwrap();
    world.forget_requests();
    write_here(&world, &row).await;
    world.push(row.id).await;
    assert!(world.reads().is_empty());
    come_to_rest(&world, &row).await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("here 4"));
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].stripe_value.as_deref(), Some("D"));
}

/// A21: the backup was taken before the customer was in Stripe.
///
/// A64
#[tokio::test]
async fn restored_row_without_a_link_loses_nothing_of_stripes() {
    for first in [First::Nobody, First::Here] {
        let folder = tempfile::tempdir().unwrap();
        let world = on_sqlite(&folder).await;
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        let backup = world.back_up().await;
        world.push(row.id).await;
        for name in ["B", "C", "D"] {
            world.update(row.id, &[("name", name)]).await;
            world.push(row.id).await;
        }
        let world = world.restored(&backup, Restored::Database).await;
        if first == First::Here {
            write_here(&world, &row).await;
        }
        come_to_rest(&world, &row).await;
        assert_eq!(world.made_for(row.id), 1);
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1, "nobody can tell which one is newer");
        assert_eq!(conflicts[0].stripe_value.as_deref(), Some("D"));
        assert_works(&world, &row).await;
    }
}

/// A customer that was deleted after the backup is deleted again.
///
/// A64
#[tokio::test]
async fn deletion_lost_by_a_restore_is_taken_from_stripe() {
    let folder = tempfile::tempdir().unwrap();
    let world = on_sqlite(&folder).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let other = world.synced(&[("email", "b@x.io")]).await;
    let backup = world.back_up().await;
    world.delete(row.id).await;
    world.push(row.id).await;
    let world = world.restored(&backup, Restored::Database).await;
    assert!(!world.row(row.id).await.is_deleted());
    come_to_rest(&world, &other).await;
    world.assert_gone(row.id).await;
}

/// A row that is created after the backup is imported from Stripe under another id.
///
/// A64
#[tokio::test]
async fn customer_created_after_the_backup_has_a_new_id() {
    let folder = tempfile::tempdir().unwrap();
    let world = on_sqlite(&folder).await;
    let backup = world.back_up().await;
    let lost = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(lost.id).await;
    let world = world.restored(&backup, Restored::Database).await;
    world.pass().await;
    world.settle().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 1);
    assert_ne!(rows[0].id, lost.id);
    assert_eq!(world.stripe_id(rows[0].id).await, stripe_id);
    assert_eq!(rows[0].name.as_deref(), Some("A"));
    world.assert_in_step(rows[0].id).await;
}

/// The link and the new e-mail are both later than the backup. A pass finds the customer by its metadata; a push that
/// comes first looks for the old e-mail, and creates a second customer.
///
/// A64
#[tokio::test]
async fn renamed_customer_without_a_link_is_found_or_made_again() {
    for push_first in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let world = on_sqlite(&folder).await;
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        let backup = world.back_up().await;
        world.push(row.id).await;
        world.update(row.id, &[("email", "b@x.io")]).await;
        world.push(row.id).await;
        let first = world.stripe_id(row.id).await;
        let world = world.restored(&backup, Restored::Database).await;
        if !push_first {
            world.pass().await;
        }
        come_to_rest(&world, &row).await;
        assert_eq!(world.row(row.id).await.email, "a@x.io");
        let unmatched = world.unmatched().await;
        if push_first {
            assert_ne!(world.stripe_id(row.id).await, first);
            assert_eq!(unmatched.len(), 1);
            assert_eq!(
                (&unmatched[0].stripe_id, unmatched[0].reason),
                (&first, Reason::Duplicate)
            );
        } else {
            assert_eq!(world.stripe_id(row.id).await, first);
            assert!(unmatched.is_empty());
            let conflict = world.conflicts().await.remove(0);
            assert_eq!(conflict.stripe_value.as_deref(), Some("b@x.io"));
        }
    }
}

/// Neither the link nor the deletion is in the backup, so nothing tells the row from one that was never sent.
///
/// A64
#[tokio::test]
async fn customer_linked_and_deleted_after_the_backup_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = on_sqlite(&folder).await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let backup = world.back_up().await;
    world.push(row.id).await;
    let first = world.stripe_id(row.id).await;
    world.delete(row.id).await;
    world.push(row.id).await;
    let world = world.restored(&backup, Restored::Database).await;
    come_to_rest(&world, &row).await;
    assert_ne!(world.stripe_id(row.id).await, first);
    assert_eq!(world.made_for(row.id), 1);
}

/// A64
#[tokio::test]
async fn customer_lost_by_stripe_is_parked_when_it_is_edited() {
    let folder = tempfile::tempdir().unwrap();
    let world = on_sqlite(&folder).await;
    let kept = world.synced(&[("email", "kept@x.io")]).await;
    let backup = world.back_up().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let other = world.synced(&[("email", "b@x.io")]).await;
    let world = world.restored(&backup, Restored::Stripe).await;
    world.pass().await;
    assert_eq!(world.rows().await.len(), 3);
    world.assert_in_step(kept.id).await;
    assert_eq!(world.parked(row.id).await, None);
    world.update(row.id, &[("name", "A")]).await;
    world.push(row.id).await;
    assert_eq!(
        world.parked(row.id).await.as_deref(),
        Some("unknown_in_stripe")
    );
    assert_eq!(world.parked(other.id).await, None);
}
