//! Fields that both sides changed, by who owns them.

use entity::conflict::Winner;
use entity::customer;
use sync_worker::policy::Policy;

use crate::harness::{Setup, World};

/// Both sides have edited the name, and the events have told of it.
async fn clash(field_owner: &str) -> (World, customer::Model, String) {
    let policy = Policy {
        owners: field_owner.parse().unwrap(),
        ..Policy::default()
    };
    let world = World::with(Setup {
        policy,
        ..Setup::default()
    })
    .await;
    let row = world
        .synced(&[("email", "a@x.io"), ("name", "base"), ("phone", "1")])
        .await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "ours")]).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs")]);
    world.events().await;
    world.push(row.id).await;
    world.events().await;
    (world, row, stripe_id)
}

#[tokio::test]
async fn field_owner_stripe_takes_stripes_value_and_keeps_ours_as_a_conflict() {
    for owner in ["stripe", "name=stripe"] {
        let (world, row, stripe_id) = clash(owner).await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("theirs"));
        assert_eq!(world.shown(&stripe_id)["name"], "theirs");
        assert!(world.calls().is_empty());
        world.assert_in_step(row.id).await;
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].database_value.as_deref(), Some("ours"));
        assert_eq!(conflicts[0].winner, Winner::Stripe);
        assert!(conflicts[0].resolved_at.is_some());
    }
}

#[tokio::test]
async fn field_owner_manual_leaves_both_sides_until_a_person_decides() {
    let (world, row, stripe_id) = clash("manual").await;
    let assert_held = async || {
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("ours"));
        assert_eq!(world.shown(&stripe_id)["name"], "theirs");
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].winner, Winner::Open);
        assert_eq!(conflicts[0].resolved_at, None);
    };
    assert_held().await;
    assert!(world.calls().is_empty());

    // Every other field goes on, in both directions, and no look makes more of it.
    world.update(row.id, &[("phone", "2")]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("description", "d")]);
    world.settle().await;
    world.pass().await;
    assert_held().await;
    assert_eq!(world.calls().len(), 1);
    assert_eq!(world.shown(&stripe_id)["phone"], "2");
    assert_eq!(world.row(row.id).await.description.as_deref(), Some("d"));
    let link = world.link(row.id).await;
    assert_eq!(link.synced_rev, world.row(row.id).await.rev);
    world.watch_writes().await;
    world.pass().await;
    assert!(world.writes().await.is_empty());
}

/// Giving both sides one value is a decision.
#[tokio::test]
async fn a_conflict_is_over_when_both_sides_hold_the_same() {
    for in_stripe in [true, false] {
        let (world, row, stripe_id) = clash("manual").await;
        if in_stripe {
            world.stripe_edits(&stripe_id, &[("name", "ours")]);
        } else {
            world.update(row.id, &[("name", "theirs")]).await;
            world.push(row.id).await;
            world.pass().await;
        }
        world.settle().await;
        let conflicts = world.conflicts().await;
        assert!(conflicts[0].resolved_at.is_some(), "in stripe: {in_stripe}");
        let winner = if in_stripe {
            Winner::Database
        } else {
            Winner::Stripe
        };
        assert_eq!(conflicts[0].winner, winner);
        world.assert_in_step(row.id).await;

        // And the field is one like any other again.
        world.update(row.id, &[("name", "next")]).await;
        world.push(row.id).await;
        assert_eq!(world.shown(&stripe_id)["name"], "next");
        world.assert_in_step(row.id).await;
    }
}

/// A person decides by editing the field, too: the new value clashes still, and is shown.
#[tokio::test]
async fn an_open_conflict_shows_the_latest_values() {
    let (world, row, stripe_id) = clash("manual").await;
    world.update(row.id, &[("name", "ours now")]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs now")]);
    world.settle().await;
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].database_value.as_deref(), Some("ours now"));
    assert_eq!(conflicts[0].stripe_value.as_deref(), Some("theirs now"));
    assert_eq!(conflicts[0].base.as_deref(), Some("base"));
}

/// A27: the address is a field like any other.
#[tokio::test]
async fn of_two_renames_the_databases_wins() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("email", "ours@x.io")]).await;
    world.stripe_edits(&stripe_id, &[("email", "theirs@x.io")]);
    world.events().await;
    world.push(row.id).await;
    world.events().await;
    assert_eq!(world.shown(&stripe_id)["email"], "ours@x.io");
    assert_eq!(world.conflicts().await.len(), 1);
    world.assert_in_step(row.id).await;
}
