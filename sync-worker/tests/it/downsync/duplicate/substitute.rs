//! Deletions in Stripe when several Stripe customers share an e-mail: another one takes the place of the deleted one.

use entity::decide::Refused;
use entity::unmatched::Reason;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::apply::Applied;
use sync_worker::policy::{LinkByEmail, OnDelete, Policy};

use super::{assert_kept_out, with};
use crate::harness::{World, each_world};

/// A22
#[tokio::test]
async fn row_is_linked_to_other_customer_after_deletion_in_stripe() {
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
