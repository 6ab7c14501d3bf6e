//! A56: a process that dies between two steps of a push. Whoever comes next goes on, and the end is the
//! same.

use std::time::Duration;

use sync_worker::upsync::Pushed;
use sync_worker::upsync::begin::{Begun, Push, begin};
use sync_worker::upsync::due::forget_dead_pushes;
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::send;
use uuid::Uuid;

use crate::harness::World;

/// Past the life of a push that does not end.
const EXPIRED: Duration = Duration::from_secs(61);

async fn begun(world: &World, id: Uuid) -> Box<Push> {
    match begin(&world.engine, id).await.unwrap() {
        Begun::Push(push) => push,
        Begun::Nothing(plan) => panic!("nothing was begun: {plan:?}"),
    }
}

/// What another process does about it: at its own start, or once the push has expired.
async fn go_on(world: &World, at_start: bool) {
    if at_start {
        forget_dead_pushes(&world.engine).await.unwrap();
    } else {
        assert_eq!(world.due().await, 0);
        world.later(EXPIRED);
    }
    assert_eq!(world.due().await, 1);
}

/// A56
#[tokio::test]
async fn a_create_that_died_before_it_was_sent_is_sent() {
    for at_start in [false, true] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        let _dead = begun(&world, row.id).await;
        assert_eq!(world.push(row.id).await, None);
        go_on(&world, at_start).await;
        assert_eq!(world.in_stripe_count(), 1);
        world.assert_in_step(row.id).await;
    }
}

/// A56
#[tokio::test]
async fn a_create_that_died_before_its_answer_was_written_down_made_one_customer() {
    for at_start in [false, true] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        let dead = begun(&world, row.id).await;
        send(&world.engine, &dead).await.unwrap();
        assert_eq!(world.in_stripe_count(), 1);
        world.update(row.id, &[("name", "edited meanwhile")]).await;
        go_on(&world, at_start).await;
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 1);
        world.assert_in_step(row.id).await;
    }
}

/// A56
#[tokio::test]
async fn an_update_that_died_is_done_once() {
    for is_sent in [false, true] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.update(row.id, &[("name", "B")]).await;
        let dead = begun(&world, row.id).await;
        if is_sent {
            send(&world.engine, &dead).await.unwrap();
        }
        go_on(&world, false).await;
        world.settle().await;
        assert_eq!(world.in_stripe(row.id).await["name"], "B");
        world.assert_in_step(row.id).await;
        assert_eq!(world.row(row.id).await.rev, 2);
    }
}

/// A56
#[tokio::test]
async fn a_delete_that_died_is_done() {
    for is_sent in [false, true] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io")]).await;
        world.delete(row.id).await;
        let dead = begun(&world, row.id).await;
        if is_sent {
            send(&world.engine, &dead).await.unwrap();
        }
        go_on(&world, false).await;
        world.assert_gone(row.id).await;
    }
}

/// A56: an edit whose message was answered by a push that dies afterwards.
#[tokio::test]
async fn an_edit_during_a_push_that_died_is_pushed_with_the_rest() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let _dead = begun(&world, row.id).await;
    world.update(row.id, &[("name", "C")]).await;
    assert_eq!(world.push(row.id).await, None);
    go_on(&world, false).await;
    world.settle().await;
    assert_eq!(world.in_stripe(row.id).await["name"], "C");
    world.assert_in_step(row.id).await;
}

/// A56: the process dies right after it has written down one push and before it begins the next.
#[tokio::test]
async fn an_edit_during_a_push_is_not_forgotten_when_the_process_dies_after_it() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let push = begun(&world, row.id).await;
    world.update(row.id, &[("name", "C")]).await;
    assert_eq!(world.push(row.id).await, None);
    let sent = send(&world.engine, &push).await.unwrap();
    let pushed = finish(&world.engine, &push, sent).await.unwrap();
    assert_eq!(pushed, Pushed::Again);
    assert_eq!(world.due().await, 1);
    assert_eq!(world.in_stripe(row.id).await["name"], "C");
    world.assert_in_step(row.id).await;
}

/// A56: a push that was thought dead, and comes back, has nothing more to say.
#[tokio::test]
async fn a_push_that_was_taken_over_writes_nothing() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let slow = begun(&world, row.id).await;
    let sent = send(&world.engine, &slow).await.unwrap();
    world.later(EXPIRED);
    world.update(row.id, &[("name", "C")]).await;
    let other = begun(&world, row.id).await;
    let before = world.link(row.id).await;
    let pushed = finish(&world.engine, &slow, sent).await.unwrap();
    assert_eq!(pushed, Pushed::Superseded);
    assert_eq!(world.link(row.id).await, before);
    let sent = send(&world.engine, &other).await.unwrap();
    finish(&world.engine, &other, sent).await.unwrap();
    // It looked first, and saw what the slow one had done.
    world.push(row.id).await;
    assert_eq!(world.in_stripe(row.id).await["name"], "C");
    world.assert_in_step(row.id).await;
}
