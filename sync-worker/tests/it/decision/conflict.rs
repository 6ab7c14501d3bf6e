//! Conflicts that a person resolves.

use entity::conflict::{State, Winner};
use entity::customer;
use entity::decide::{Refused, Side};
use platform::test_support::{TestDatabase, each_database};
use sync_worker::policy::Policy;

use crate::harness::{Setup, World};

/// Both sides have edited the name, and the events have told of it.
async fn clash(database: TestDatabase, field_owner: &str) -> (World, customer::Model, String) {
    let policy = Policy {
        owners: field_owner.parse().unwrap(),
        ..Policy::default()
    };
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    let world = Box::pin(World::on(database, setup)).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "base")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "ours")]).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs")]);
    world.events().await;
    world.push(row.id).await;
    world.events().await;
    world.forget_requests();
    (world, row, stripe_id)
}

/// A11: with `FIELD_OWNER=manual` the field is held back until then.
#[tokio::test]
async fn an_open_conflict_resolved_either_way_reaches_both_sides() {
    Box::pin(each_database(async |database| {
        let (world, row, stripe_id) = Box::pin(clash(database, "manual")).await;
        for (side, value, calls) in [(Side::Database, "ours", 1), (Side::Stripe, "theirs 2", 0)] {
            let open = world.conflicts().await.pop().unwrap();
            let before = world.row(row.id).await.rev;
            let outbox = world.outbox().await;
            let resolved = world.resolve_conflict(&open, side).await.unwrap();
            assert_eq!(resolved.rev, before + 1);
            assert_eq!(world.outbox().await, outbox + 1);
            world.push(row.id).await;
            world.settle().await;
            assert_eq!(world.row(row.id).await.name.as_deref(), Some(value));
            assert_eq!(world.shown(&stripe_id)["name"], value);
            assert_eq!(world.calls().len(), calls);
            world.assert_in_step(row.id).await;
            let known = world.conflicts().await.pop().unwrap();
            assert_eq!((known.id, known.state()), (open.id, State::Resolved));
            assert!(known.decided_at.is_some());

            // The same once more is done already, the other one is too late.
            let again = world.resolve_conflict(&known, side).await.unwrap();
            assert_eq!(again.rev, world.row(row.id).await.rev);
            let other = match side {
                Side::Database => Side::Stripe,
                Side::Stripe => Side::Database,
            };
            let refused = world.resolve_conflict(&known, other).await.unwrap_err();
            assert!(matches!(refused, Refused::Decided), "{refused:?}");

            // And both sides clash again.
            world.update(row.id, &[("name", "ours 2")]).await;
            world.stripe_edits(&stripe_id, &[("name", "theirs 2")]);
            world.events().await;
            world.push(row.id).await;
            world.events().await;
            world.forget_requests();
        }
    }))
    .await;
}

/// A11: somebody edits the field in Stripe once more, and nobody has seen it when it is decided.
#[tokio::test]
async fn what_nobody_has_seen_is_not_overruled_by_a_decision() {
    let database = platform::test_support::sqlite().await;
    let (world, row, stripe_id) = Box::pin(clash(database, "manual")).await;
    let open = world.conflicts().await.remove(0);
    world.stripe_edits(&stripe_id, &[("name", "theirs, later")]);
    world.resolve_conflict(&open, Side::Database).await.unwrap();
    // The push is late, so Stripe is looked at first.
    world.later(std::time::Duration::from_secs(60));
    world.push(row.id).await;
    world.settle().await;
    assert!(world.calls().is_empty());
    assert_eq!(world.shown(&stripe_id)["name"], "theirs, later");
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts.len(), 2);
    assert_eq!(conflicts[1].winner, Winner::Open);
    assert_eq!(conflicts[1].stripe_value.as_deref(), Some("theirs, later"));
}

/// A11: the field's owner has decided, and a person knows better.
#[tokio::test]
async fn a_decided_conflict_is_turned_round_while_its_value_is_the_present_one() {
    Box::pin(each_database(async |database| {
        let (world, row, stripe_id) = Box::pin(clash(database, "database")).await;
        world.settle().await;
        assert_eq!(world.shown(&stripe_id)["name"], "ours");
        let decided = world.conflicts().await.remove(0);
        assert_eq!(decided.winner, Winner::Database);
        world
            .resolve_conflict(&decided, Side::Stripe)
            .await
            .unwrap();
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(world.shown(&stripe_id)["name"], "theirs");
        assert_eq!(world.conflicts().await[0].winner, Winner::Stripe);
        world.assert_in_step(row.id).await;
    }))
    .await;
    let database = platform::test_support::sqlite().await;
    let (world, row, _) = Box::pin(clash(database, "stripe")).await;
    let decided = world.conflicts().await.remove(0);
    world.update(row.id, &[("name", "newer")]).await;
    for side in [Side::Database, Side::Stripe] {
        let refused = world.resolve_conflict(&decided, side).await.unwrap_err();
        assert!(matches!(refused, Refused::Outdated), "{refused:?}");
    }
}

#[tokio::test]
async fn a_dismissed_conflict_stays_as_it_is_until_a_side_changes() {
    let database = platform::test_support::sqlite().await;
    let (world, row, stripe_id) = Box::pin(clash(database, "manual")).await;
    let open = world.conflicts().await.remove(0);
    world.dismiss_conflict(&open).await;
    world.watch_writes().await;
    world.settle().await;
    world.pass().await;
    assert!(world.writes().await.is_empty());
    assert_eq!(world.shown(&stripe_id)["name"], "theirs");
    assert_eq!(world.conflicts().await[0].state(), State::Dismissed);
    world.stripe_edits(&stripe_id, &[("name", "theirs now")]);
    world.events().await;
    assert_eq!(world.conflicts().await[0].state(), State::Open);
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("ours"));
}
