//! Deletions that were too many to be believed, and a person's word on them.

use entity::customer;
use entity::decide::{Refused, Side};
use platform::test_support::{TestDatabase, each_database};
use sync_worker::policy::{DeleteCap, Policy};

use crate::harness::{Setup, World};

/// Six customers, four of which were deleted in Stripe where two are believed. The pass has refused them.
async fn refused(database: TestDatabase) -> (World, Vec<customer::Model>) {
    let policy = Policy {
        delete_cap: DeleteCap {
            count: 2,
            percent: 100,
        },
        ..Policy::default()
    };
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    let world = Box::pin(World::on(database, setup)).await;
    world.import(6).await;
    let mut rows = world.rows().await;
    rows.truncate(4);
    for row in &rows {
        world.stripe_deletes(&world.stripe_id(row.id).await);
    }
    world.try_pass().await.unwrap_err();
    assert_eq!(world.rows().await.len(), 6);
    for row in &rows {
        let reason = world.parked(row.id).await;
        assert_eq!(reason.as_deref(), Some("deletion_refused"));
    }
    (world, rows)
}

/// A7: accepted once, proven once more, and the next pass is good.
#[tokio::test]
async fn refused_deletions_are_brought_home_when_a_person_accepts_them() {
    Box::pin(each_database(async |database| {
        let (world, rows) = Box::pin(refused(database)).await;
        assert_eq!(world.accept_deletions().await, 4);
        world.recheck().await;
        for row in &rows {
            world.assert_gone(row.id).await;
        }
        assert_eq!(world.rows().await.len(), 2);
        assert_eq!(world.accept_deletions().await, 0);
        world.pass().await;
        assert!(world.calls().is_empty());
    }))
    .await;
}

/// A7: those that are deleted later are not covered by it.
#[tokio::test]
async fn accepting_covers_those_that_were_shown_and_no_others() {
    let database = platform::test_support::sqlite().await;
    let (world, _) = Box::pin(refused(database)).await;
    let others = world.rows().await.split_off(4);
    for row in &others {
        world.stripe_deletes(&world.stripe_id(row.id).await);
    }
    assert_eq!(world.accept_deletions().await, 4);
    world.recheck().await;
    let left: Vec<_> = world.rows().await.iter().map(|row| row.id).collect();
    let expected: Vec<_> = others.iter().map(|row| row.id).collect();
    assert_eq!(left, expected);
}

/// A7: one by one, for either side, and no retry does it by accident.
#[tokio::test]
async fn each_refused_deletion_can_be_decided_on_its_own() {
    Box::pin(each_database(async |database| {
        let (world, rows) = Box::pin(refused(database)).await;
        let retried = world.retry_parked(rows[0].id).await.unwrap_err();
        assert!(matches!(retried, Refused::NotPossible(_)), "{retried:?}");
        world
            .resolve_parked(rows[0].id, Side::Stripe)
            .await
            .unwrap();
        world.recheck().await;
        world.assert_gone(rows[0].id).await;
        world
            .resolve_parked(rows[1].id, Side::Database)
            .await
            .unwrap();
        world.push(rows[1].id).await;
        world.recheck().await;
        assert_eq!(world.made_for(rows[1].id), 1);
        world.assert_in_step(rows[1].id).await;
        // Two are left, which are few enough.
        world.pass().await;
        world.assert_gone(rows[2].id).await;
        world.assert_gone(rows[3].id).await;
    }))
    .await;
}

/// A7: a person lets them be, and the passes go on without them.
#[tokio::test]
async fn dismissed_deletions_refuse_no_further_pass() {
    let database = platform::test_support::sqlite().await;
    let (world, rows) = Box::pin(refused(database)).await;
    world.try_pass().await.unwrap_err();
    for row in &rows {
        world.dismiss_parked(row.id).await.unwrap();
    }
    world.pass().await;
    assert_eq!(world.accept_deletions().await, 0);
    assert_eq!(world.rows().await.len(), 6);
}

/// A3, A7: an edit finds the deletion by itself, and a deletion here is one that both sides have.
#[tokio::test]
async fn a_customer_held_back_that_is_edited_or_deleted_here_goes_its_own_way() {
    let database = platform::test_support::sqlite().await;
    let (world, rows) = Box::pin(refused(database)).await;
    world.update(rows[0].id, &[("name", "edited")]).await;
    world.push(rows[0].id).await;
    let reason = world.parked(rows[0].id).await;
    assert_eq!(reason.as_deref(), Some("deleted_in_stripe"));
    world.delete(rows[1].id).await;
    world.push(rows[1].id).await;
    world.assert_gone(rows[1].id).await;
    world.pass().await;
    assert_eq!(world.rows().await.len(), 3);
}
