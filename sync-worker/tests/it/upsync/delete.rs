//! A row that was deleted, and a customer that was deleted in Stripe while ours was edited.

use entity::decide::Side;
use platform::test_support::sqlite;
use stripe_sandbox::fault::Kind;
use sync_worker::outcome::Operation;
use sync_worker::policy::{OnDelete, Policy};
use sync_worker::stripe::{Failure, FailureKind, Lane};
use sync_worker::upsync::Pushed;
use sync_worker::upsync::begin::{Begun, Request, begin};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::{Sent, send};

use crate::harness::{RETRY, Setup, World};

#[tokio::test]
async fn a_delete_reaches_stripe_once() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.delete(row.id).await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    assert_eq!(world.push(row.id).await, None);
    assert_eq!(world.calls(), [format!("DELETE /v1/customers/{stripe_id}")]);
    assert_eq!(world.shown(&stripe_id)["deleted"], true);
    world.assert_gone(row.id).await;
}

/// A50
#[tokio::test]
async fn the_echo_of_a_delete_is_neither_read_nor_written() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.delete(row.id).await;
    world.push(row.id).await;
    world.forget_requests();
    world.watch_writes().await;
    let worked = world.events().await;
    assert_eq!((worked.events, worked.reads, worked.drifts), (1, 0, 0));
    assert!(world.writes().await.is_empty());
}

/// A4
#[tokio::test]
async fn a_delete_before_the_create_was_pushed_leaves_nothing() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.delete(row.id).await;
    world.push(row.id).await;
    assert!(world.calls().is_empty());
    assert_eq!(world.in_stripe_count(), 0);
    world.assert_gone(row.id).await;
}

/// A4: whether or not the create was carried out.
#[tokio::test]
async fn a_delete_while_the_creates_answer_was_lost_leaves_nothing() {
    for kind in [
        Kind::ResetAfterEffect,
        Kind::ResetBeforeEffect,
        Kind::GatewayErrorAfterEffect,
        Kind::TruncatedBody,
        Kind::ErrorAfterEffect { should_retry: None },
        Kind::ErrorBeforeEffect { should_retry: None },
    ] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        world.fault("POST /v1/customers", kind.clone());
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{kind:?}");
        world.delete(row.id).await;
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 0, "{kind:?}");
        world.assert_gone(row.id).await;
    }
}

/// A4: the same, a day later, when the key says nothing any more.
#[tokio::test]
async fn a_delete_a_day_after_the_creates_answer_was_lost_leaves_nothing() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault("POST /v1/customers", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.delete(row.id).await;
    world.later(std::time::Duration::from_secs(25 * 3600));
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.in_stripe_count(), 0);
    world.assert_gone(row.id).await;
}

/// A4: the network delivers the create when all about it is settled.
#[tokio::test]
async fn a_create_that_arrives_after_the_delete_is_deleted() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
        panic!("the push begins");
    };
    let Request::Create { body, key, .. } = &push.request else {
        panic!("it creates");
    };
    let lost = Failure::new(FailureKind::Unknown, "timed out");
    let sent = Sent::Failed(Operation::Create, lost);
    finish(&world.engine, &push, sent).await.unwrap();
    world.delete(row.id).await;
    world.later(std::time::Duration::from_secs(25 * 3600));
    world.due().await;
    world.assert_gone(row.id).await;
    assert!(world.calls().is_empty());

    let stripe = &world.engine.stripe;
    stripe.create(Lane::Upsync, body, key).await.unwrap();
    assert_eq!(world.made_for(row.id), 1);
    world.settle().await;
    world.assert_gone(row.id).await;
    assert_eq!(world.in_stripe_count(), 0);
}

/// A4: the row is deleted while its create is on the line.
#[tokio::test]
async fn a_delete_during_the_create_deletes_what_it_created() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let delay = std::time::Duration::from_millis(200);
    world.fault("POST /v1/customers", Kind::LatencyAfterEffect { delay });
    let delete = async {
        world.until_called(1).await;
        world.delete(row.id).await;
        assert_eq!(world.push(row.id).await, None);
    };
    tokio::join!(world.push(row.id), delete);
    assert_eq!(world.in_stripe_count(), 0);
    world.assert_gone(row.id).await;
}

/// A customer that was found by the e-mail, and that no write of ours has ever reached, is not deleted for
/// a row that came and went.
#[tokio::test]
async fn a_delete_while_a_customer_of_stripes_is_being_linked_leaves_that_one_alone() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io")]);
    let row = world.create(&[("email", "a@x.io")]).await;
    let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
        panic!("the push begins");
    };
    let sent = send(&world.engine, &push).await.unwrap();
    world.delete(row.id).await;
    finish(&world.engine, &push, sent).await.unwrap();
    world.settle().await;
    assert!(world.shown(&stripe_id)["deleted"].is_null());
    assert!(world.calls().is_empty());
    world.assert_gone(row.id).await;
}

/// A6
#[tokio::test]
async fn a_delete_of_what_is_gone_from_stripe_is_done() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.stripe_deletes(&world.stripe_id(row.id).await);
    world.delete(row.id).await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    world.assert_gone(row.id).await;
    world.settle().await;
    world.assert_gone(row.id).await;
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_done_by_the_next_attempt() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.delete(row.id).await;
    world.fault("DELETE /v1/customers/{id}", Kind::ResetAfterEffect);
    assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    assert_eq!(world.retry().await, 1);
    world.assert_gone(row.id).await;
}

/// A2, A3: the edit is kept and shown, and no second customer is made of it.
#[tokio::test]
async fn an_edit_of_a_customer_that_stripe_deleted_is_parked_and_never_created_again() {
    for is_read_first in [true, false] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        world.update(row.id, &[("name", "B")]).await;
        let delete = |world: &World| world.stripe_deletes(&stripe_id);
        let pushed = if is_read_first {
            delete(&world);
            world.push(row.id).await
        } else {
            // Deleted after the read: Stripe answers the update with 404.
            Some(world.push_after_read(row.id, delete).await)
        };
        assert_eq!(pushed, Some(Pushed::Parked));
        world.settle().await;
        world.pass().await;
        world.later(RETRY);
        world.missed().await;
        assert_eq!(world.calls().len(), usize::from(!is_read_first));
        assert_eq!(world.in_stripe_count(), 0);
        let kept = world.row(row.id).await;
        assert_eq!((kept.name.as_deref(), kept.deleted_at), (Some("B"), None));
        assert_eq!(
            world.parked(row.id).await.as_deref(),
            Some("deleted_in_stripe")
        );

        // No pass asks Stripe about it again.
        world.forget_requests();
        world.pass().await;
        assert_eq!(world.reads().len(), 2);
        // A further edit changes nothing about that.
        world.update(row.id, &[("name", "C")]).await;
        world.push(row.id).await;
        assert_eq!(world.in_stripe_count(), 0);
        assert_eq!(
            world.parked(row.id).await.as_deref(),
            Some("deleted_in_stripe")
        );

        // Deleting it here, too, is how a person agrees.
        world.delete(row.id).await;
        world.push(row.id).await;
        world.assert_gone(row.id).await;
    }
}

/// A3, seen by the events before the push.
#[tokio::test]
async fn a_deletion_in_stripe_that_meets_an_edit_on_its_way_is_parked() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.stripe_deletes(&world.stripe_id(row.id).await);
    world.update(row.id, &[("name", "B")]).await;
    world.events().await;
    assert_eq!(
        world.parked(row.id).await.as_deref(),
        Some("deleted_in_stripe")
    );
    assert_eq!(world.push(row.id).await, None);
    assert!(world.calls().is_empty());
    assert!(!world.row(row.id).await.is_deleted());
}

#[tokio::test]
async fn on_database_delete_detach_marks_the_customer_and_lets_go_of_it() {
    let policy = Policy {
        on_database_delete: OnDelete::Detach,
        ..Policy::default()
    };
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    let world = World::on(sqlite().await, setup).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.delete(row.id).await;
    world.push(row.id).await;
    assert_eq!(world.calls(), [format!("POST /v1/customers/{stripe_id}")]);
    let shown = world.shown(&stripe_id);
    assert_eq!(shown["metadata"]["customer_sync_detached"], "true");
    assert_eq!(shown["name"], "A");

    // Nothing that happens to it comes home, and the address is free for a new customer of ours.
    world.stripe_edits(&stripe_id, &[("name", "somebody")]);
    world.settle().await;
    world.pass().await;
    assert!(world.rows().await.is_empty());
    assert!(world.unmatched().await.is_empty());
    let again = world.create(&[("email", "a@x.io")]).await;
    world.push(again.id).await;
    assert_ne!(world.stripe_id(again.id).await, stripe_id);
    world.settle().await;
    world.assert_in_step(again.id).await;
    assert_eq!(world.in_stripe_count(), 2);
}

/// Another account's key finds nothing either.
#[tokio::test]
async fn delete_of_a_customer_that_stripe_does_not_know_waits_for_a_person() {
    for on_database_delete in [OnDelete::Delete, OnDelete::Detach] {
        let policy = Policy {
            on_database_delete,
            ..Policy::default()
        };
        let setup = Setup {
            policy,
            ..Setup::default()
        };
        let world = World::on(sqlite().await, setup).await;
        let row = world.synced(&[("email", "a@x.io")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        let row = world.delete(row.id).await;
        world.faults("*", Kind::OtherAccount);
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        let link = world.link(row.id).await;
        assert_eq!(link.parked_reason.as_deref(), Some("unknown_in_stripe"));
        assert!(link.synced_rev < row.rev);
        world.heal();
        world.retry_parked(row.id).await.unwrap();
        assert_eq!(world.push(row.id).await, Some(Pushed::Done));
        let shown = world.shown(&stripe_id);
        let is_deleted = shown["deleted"] == true;
        assert_eq!(is_deleted, on_database_delete == OnDelete::Delete);
    }
}

#[tokio::test]
async fn deletion_that_stripe_knows_nothing_of_can_be_left_at_that() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.delete(row.id).await;
    world.faults("*", Kind::OtherAccount);
    assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
    world.resolve_parked(row.id, Side::Stripe).await.unwrap();
    assert_eq!(world.push(row.id).await, None);
    assert_eq!(world.parked(row.id).await, None);
}

/// The key is one of the other mode, and Stripe says so.
#[tokio::test]
async fn delete_with_a_key_of_the_other_mode_stops_the_lane() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.delete(row.id).await;
    world.faults("*", Kind::OtherModeKey);
    assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    let reason = world.engine.lane.stopped().unwrap();
    assert!(reason.contains("other mode"), "{reason}");
    assert_eq!(world.parked(row.id).await, None);
    world.heal();
    world.engine.lane.resume();
    world.retry().await;
    world.assert_gone(row.id).await;
}
