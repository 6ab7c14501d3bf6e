//! Several workers at one customer: whatever they do at once, Stripe sees it once.

use futures_util::future::join_all;
use sync_worker::upsync::begin::{Begun, begin};

use crate::harness::each_world;

const WORKERS: usize = 8;

/// A15, A20
#[tokio::test]
async fn many_workers_with_one_message_make_one_customer() {
    each_world(async |world| {
        for round in 0..5 {
            let email = format!("{round}@x.io");
            let row = world.create(&[("email", &email)]).await;
            join_all((0..WORKERS).map(|_| world.push(row.id))).await;
            assert_eq!(world.made_for(row.id), 1);
            world.assert_in_step(row.id).await;
        }
        assert_eq!(world.calls().len(), 5);
    })
    .await;
}

#[tokio::test]
async fn many_workers_with_one_edit_make_one_call() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.update(row.id, &[("name", "B")]).await;
        join_all((0..WORKERS).map(|_| world.push(row.id))).await;
        assert_eq!(world.calls().len(), 1);
        world.assert_in_step(row.id).await;
    })
    .await;
}

/// The first of them writes down that it is at work, before anything is sent.
///
/// A68
#[tokio::test]
async fn of_two_pushes_begun_at_once_one_begins() {
    each_world(async |world| {
        let row = world.create(&[("email", "a@x.io")]).await;
        let (one, other) = tokio::join!(begin(&world.engine, row.id), begin(&world.engine, row.id));
        let begun = [one.unwrap(), other.unwrap()];
        let pushes = begun.iter().filter(|begun| matches!(begun, Begun::Push(_)));
        assert_eq!(pushes.count(), 1);
    })
    .await;
}

/// Edits, pushes and looks at Stripe all at once; the last edit is what both sides hold.
#[tokio::test]
async fn edits_beside_pushes_and_passes_end_with_the_last_edit_on_both_sides() {
    each_world(async |world| {
        let row = world
            .synced(&[("email", "a@x.io"), ("name", "start")])
            .await;
        let stripe_id = world.stripe_id(row.id).await;
        let edits = async {
            for round in 0..20 {
                let name = format!("name {round}");
                world.update(row.id, &[("name", &name)]).await;
                world.push(row.id).await;
            }
        };
        let looks = async {
            for _ in 0..20 {
                let drift = world.read(&stripe_id).await;
                world.apply(&drift).await;
                assert!(world.calls().len() <= 20);
            }
        };
        tokio::join!(edits, looks);
        world.push(row.id).await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("name 19"));
        assert_eq!(world.row(row.id).await.rev, 21);
        assert_eq!(world.shown(&stripe_id)["name"], "name 19");
        assert!(world.conflicts().await.is_empty());
    })
    .await;
}
