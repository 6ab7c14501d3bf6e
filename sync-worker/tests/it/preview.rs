//! What a pass would do is shown, and done item by item.

use entity::fields::Field;
use entity::parked::Reason;
use sync_worker::preview::{
    Change, Done, Item, Preview, Side, Step, are_current, carry_out, carry_out_together, in_groups,
    is_current, read,
};

use crate::harness::{Setup, World, each_world};

mod item;
mod random;
mod shared;
mod stale;

async fn preview(world: &World) -> Preview {
    read(&world.engine).await.unwrap()
}

/// The only item of a preview.
async fn only(world: &World) -> Item {
    let mut items = preview(world).await.items;
    assert_eq!(items.len(), 1, "{items:?}");
    items.remove(0)
}

fn change(field: Field, from: &str, to: &str) -> Vec<Change> {
    vec![Change {
        field,
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
    }]
}

#[tokio::test]
async fn two_sides_in_step_ask_for_nothing() {
    each_world(async |world| {
        world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let gone = world.synced(&[("email", "b@x.io")]).await;
        world.delete(gone.id).await;
        world.push(gone.id).await;
        world.events().await;
        let seen = preview(&world).await;
        assert_eq!((seen.items.len(), seen.listed), (0, 1));
        assert_eq!(seen.key.account.as_deref(), Some("acct_1SandboxDefault00"));
        assert_eq!(seen.key.livemode, Some(false));
    })
    .await;
}

/// One customer of every kind; on both databases the same is seen, twice, and nothing is written.
#[tokio::test]
async fn a_preview_writes_nothing_and_is_the_same_each_time() {
    each_world(async |world| {
        every_kind(&world).await;
        let watched = world.engine.db.get_database_backend() == sea_orm::DbBackend::Sqlite;
        if watched {
            world.watch_writes().await;
        }
        let (rows, conflicts) = (world.rows().await, world.conflicts().await);
        world.forget_requests();
        let first = preview(&world).await;
        assert_eq!(first.items.len(), 8, "{:#?}", first.items);
        let second = preview(&world).await;
        assert_eq!(first.items, second.items);
        assert_eq!(world.calls(), [] as [String; 0]);
        assert_eq!(world.rows().await, rows);
        assert_eq!(world.conflicts().await, conflicts);
        if watched {
            assert_eq!(world.writes().await, [] as [String; 0]);
        }
    })
    .await;
}

/// Once every item is carried out, nothing is left but what waits for a person.
#[tokio::test]
async fn what_was_shown_is_done_and_a_person_is_left_the_rest() {
    each_world(async |world| {
        every_kind(&world).await;
        let (done, left): (Vec<_>, Vec<_>) = preview(&world)
            .await
            .items
            .into_iter()
            .partition(Item::is_done);
        assert_eq!((done.len(), left.len()), (7, 1));
        for item in &done {
            assert!(is_current(&world.engine, item).await.unwrap(), "{item:?}");
        }
        for item in &done {
            let came = carry_out(&world.engine, item).await.unwrap();
            assert_eq!(came, Done::Done, "{item:?}");
        }
        assert_eq!(preview(&world).await.items, left);
        // Nor does a pass find anything else to do.
        world.pass().await;
        assert_eq!(preview(&world).await.items, left);
    })
    .await;
}

/// Eight customers, seven of whom need no person.
async fn every_kind(world: &World) {
    let out = world.synced(&[("email", "out@x.io"), ("name", "A")]).await;
    let home = world.synced(&[("email", "home@x.io"), ("name", "A")]).await;
    let gone_here = world.synced(&[("email", "gone.here@x.io")]).await;
    let gone_there = world.synced(&[("email", "gone.there@x.io")]).await;
    let both = world.synced(&[("email", "both@x.io"), ("name", "A")]).await;
    world.update(out.id, &[("name", "B")]).await;
    let edit = [("name", "C"), ("email", "home2@x.io")];
    world.stripe_edits(&world.stripe_id(home.id).await, &edit);
    world.delete(gone_here.id).await;
    world.stripe_deletes(&world.stripe_id(gone_there.id).await);
    world.update(both.id, &[("name", "ours")]).await;
    world.stripe_edits(&world.stripe_id(both.id).await, &[("name", "theirs")]);
    world.create(&[("email", "new.here@x.io")]).await;
    world.stripe_creates(&[("email", "new.there@x.io"), ("name", "N")]);
    world.stripe_creates(&[("name", "without an e-mail")]);
}

#[tokio::test]
async fn what_comes_from_stripe_stands_first_and_each_part_is_in_the_order_of_ids() {
    let world = World::new().await;
    every_kind(&world).await;
    let items = preview(&world).await.items;
    let goes_out = |item: &Item| item.steps[0].is_pushed();
    assert!(items.is_sorted_by_key(|item| (goes_out(item), item.customer_id)));
    let count = items.iter().filter(|item| goes_out(item)).count();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn deletions_beyond_the_cap_are_shown_as_refused() {
    let mut setup = Setup::default();
    setup.policy.delete_cap.count = 1;
    let world = World::with(setup).await;
    let mut rows = Vec::new();
    for n in 0..4 {
        rows.push(world.synced(&[("email", &format!("{n}@x.io"))]).await);
    }
    world.stripe_deletes(&world.stripe_id(rows[0].id).await);
    assert_eq!(
        only(&world).await.steps,
        [Step::Delete { on: Side::Database }]
    );
    world.stripe_deletes(&world.stripe_id(rows[1].id).await);
    let items = preview(&world).await.items;
    assert_eq!(items.len(), 2);
    for item in items {
        let reason = Reason::DeletionRefused;
        let refused = Step::Refuse {
            reason: reason.as_str().to_owned(),
            next_step: reason.next_step().to_owned(),
        };
        assert_eq!(item.steps, [refused]);
        assert!(!item.is_done());
    }
    // As the pass says.
    assert!(world.try_pass().await.is_err());
}
