//! What people do in Stripe comes home, by the events and by the full pass, and nothing comes of it
//! but one write here.

use entity::fields::Field;
use entity::message::Origin;
use sync_worker::downsync::apply::Applied;
use sync_worker::observe::store::Observed;
use sync_worker::policy::{OnDelete, Policy};

use crate::harness::look::stamp;
use crate::harness::{Setup, UNUSABLE_EMAIL, World};

/// The two ways home.
#[derive(Clone, Copy, Debug)]
enum Way {
    Events,
    Pass,
}

const WAYS: [Way; 2] = [Way::Events, Way::Pass];

async fn scan(world: &World, way: Way) {
    match way {
        Way::Events => drop(world.events().await),
        Way::Pass => drop(world.pass().await),
    }
}

/// A50
#[tokio::test]
async fn an_edit_in_stripe_is_one_write_here_and_no_call() {
    for way in WAYS {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.watch_writes().await;
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("name", "B"), ("phone", "1")]);
        scan(&world, way).await;
        assert_eq!(
            world.writes().await,
            ["customer", "outbox", "stripe_link", "timeline", "timeline"],
            "{way:?}"
        );
        let row = world.row(row.id).await;
        assert_eq!((row.name.as_deref(), row.rev), (Some("B"), 2));
        world.assert_in_step(row.id).await;

        // Nothing more comes of it, whoever looks.
        world.push(row.id).await;
        world.settle().await;
        world.pass().await;
        assert!(world.writes().await.is_empty(), "{way:?}");
        assert!(world.calls().is_empty(), "{way:?}");
        assert_eq!(
            world.published(row.id).await,
            [(1, Origin::Application), (2, Origin::Stripe)],
            "{way:?}"
        );
    }
}

/// A24: the link is by id.
#[tokio::test]
async fn a_rename_in_stripe_is_a_rename_of_the_same_row() {
    for way in WAYS {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("email", "New@X.io")]);
        scan(&world, way).await;
        let renamed = world.row(row.id).await;
        assert_eq!(renamed.email, "New@X.io");
        assert_eq!(renamed.email_key, "new@x.io");
        assert_eq!(renamed.rev, 2);
        assert_eq!(world.rows().await.len(), 1);
        assert!(world.calls().is_empty());
        world.assert_in_step(row.id).await;
    }
}

#[tokio::test]
async fn a_customer_made_in_stripe_becomes_a_row() {
    for way in WAYS {
        let world = World::new().await;
        let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "A")]);
        scan(&world, way).await;
        let rows = world.rows().await;
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].rev, rows[0].name.as_deref()), (1, Some("A")));
        assert_eq!(world.stripe_id(rows[0].id).await, stripe_id);
        world.assert_in_step(rows[0].id).await;
        world.push(rows[0].id).await;
        world.settle().await;
        assert!(world.calls().is_empty(), "{way:?}");
        assert_eq!(world.published(rows[0].id).await, [(1, Origin::Stripe)]);

        // It is ours as any other from now on.
        world.update(rows[0].id, &[("name", "B")]).await;
        world.push(rows[0].id).await;
        assert_eq!(world.calls().len(), 1);
        assert_eq!(world.made_for(rows[0].id), 1);
        world.settle().await;
        world.assert_in_step(rows[0].id).await;
    }
}

#[tokio::test]
async fn a_deletion_in_stripe_makes_the_row_a_tombstone() {
    for way in WAYS {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io")]).await;
        let other = world.synced(&[("email", "b@x.io")]).await;
        world.stripe_deletes(&world.stripe_id(row.id).await);
        scan(&world, way).await;
        world.assert_gone(row.id).await;
        assert_eq!(world.row(row.id).await.rev, 2);
        world.assert_in_step(other.id).await;
        world.push(row.id).await;
        world.settle().await;
        assert!(world.calls().is_empty(), "{way:?}");
        let published = world.published(row.id).await;
        assert_eq!(published, [(1, Origin::Application), (2, Origin::Stripe)]);

        // The address is free again.
        let again = world.create(&[("email", "a@x.io")]).await;
        world.push(again.id).await;
        world.assert_in_step(again.id).await;
    }
}

#[tokio::test]
async fn on_stripe_delete_detach_keeps_the_row_and_cuts_the_link() {
    for way in WAYS {
        let policy = Policy {
            on_stripe_delete: OnDelete::Detach,
            ..Policy::default()
        };
        let world = World::with(Setup {
            policy,
            ..Setup::default()
        })
        .await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.synced(&[("email", "b@x.io")]).await;
        world.stripe_deletes(&world.stripe_id(row.id).await);
        scan(&world, way).await;
        assert_eq!(world.rows().await.len(), 2, "{way:?}");
        assert!(world.link(row.id).await.detached_at.is_some());
        world.update(row.id, &[("name", "B")]).await;
        world.push(row.id).await;
        world.settle().await;
        world.pass().await;
        assert!(world.calls().is_empty());
        let link = world.link(row.id).await;
        assert_eq!((link.synced_rev, link.parked_reason), (2, None));
        assert_eq!(world.in_stripe_count(), 1);
    }
}

/// A51
#[tokio::test]
async fn a_pass_over_what_is_in_step_writes_nothing_anywhere() {
    let world = World::new().await;
    world.import(120).await;
    world.stripe_creates(&[("name", "nobody")]);
    world.stripe_creates(&[("email", "0@x.io")]);
    world.stripe_creates(&[("email", UNUSABLE_EMAIL)]);
    world.pass().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    assert_eq!(world.rows().await.len(), 121);
    assert_eq!(world.unmatched().await.len(), 3);
    world.watch_writes().await;
    world.forget_requests();
    let counts = world.pass().await;
    assert_eq!((counts.pages, counts.customers), (2, 124));
    assert_eq!((counts.deletions, counts.missed), (0, 0));
    assert!(world.writes().await.is_empty());
    assert!(world.calls().is_empty());
    // The account and the pages, and no customer by itself.
    assert_eq!(world.reads().len(), 3);
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn a_drift_that_comes_twice_is_applied_once() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    let drift = world.read(&stripe_id).await;
    let taken = Applied::Observed(Observed::Taken);
    assert_eq!(world.apply(&drift).await, taken);
    assert_eq!(world.apply(&drift).await, Applied::PutAside);
    world.settle().await;
    assert_eq!(world.row(row.id).await.rev, 2);
    world.assert_in_step(row.id).await;
}

/// Given back, the drift would be a dead letter before the database is there again.
#[tokio::test]
async fn a_drift_is_kept_in_hand_while_the_database_is_away() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    let drift = world.read(&stripe_id).await;
    world.database_goes_away().await;
    let now = world.now().await;
    let drifts = [drift];
    let mut publisher = world.drifts.lock().await;
    let publish = publisher.send(&drifts, now);
    let heal = async {
        world.until_apply_has_a_problem().await;
        world.database_comes_back().await;
    };
    let (sent, ()) = tokio::join!(publish, heal);
    sent.unwrap();
    world.assert_in_step(row.id).await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
}

/// Both sides edit again and again, now here, now there; each edit is made once on the other side.
#[tokio::test]
async fn edits_to_and_fro_cost_one_call_each() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    for round in 1..6 {
        let name = format!("ours {round}");
        world.update(row.id, &[("name", &name)]).await;
        world.push(row.id).await;
        world.events().await;
        let name = format!("theirs {round}");
        world.stripe_edits(&stripe_id, &[("name", &name)]);
        world.events().await;
        world.push(row.id).await;
    }
    assert_eq!(world.calls().len(), 5);
    assert_eq!(world.row(row.id).await.rev, 11);
    assert_eq!(stamp(&world.shown(&stripe_id), Field::Name).rev, 10);
    world.assert_in_step(row.id).await;
}
