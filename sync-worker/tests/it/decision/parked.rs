//! Parked customers that a person decides.

use entity::customer;
use entity::decide::{Refused, Side};
use stripe_sandbox::fault::Kind;
use sync_worker::upsync::Pushed;

use crate::harness::{UNUSABLE_EMAIL, World, each_world};

fn too_long() -> String {
    "x".repeat(300)
}

/// Edited here and deleted in Stripe.
async fn deleted_in_stripe(world: &World) -> customer::Model {
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.stripe_deletes(&world.stripe_id(row.id).await);
    let row = world.update(row.id, &[("name", "B")]).await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
    row
}

/// A2, A3: it is created anew because a person says so, and once.
#[tokio::test]
async fn a_customer_deleted_in_stripe_is_created_anew_on_purpose_and_once() {
    Box::pin(each_world(async |world| {
        let row = deleted_in_stripe(&world).await;
        let gone = world.stripe_id(row.id).await;
        world.resolve_parked(row.id, Side::Database).await.unwrap();
        let again = world
            .resolve_parked(row.id, Side::Database)
            .await
            .unwrap_err();
        assert!(matches!(again, Refused::NotFound), "{again:?}");
        for _ in 0..2 {
            world.push(row.id).await;
            world.settle().await;
            world.pass().await;
        }
        assert_eq!(world.in_stripe_count(), 1);
        assert_eq!(world.made_for(row.id), 1);
        assert_ne!(world.stripe_id(row.id).await, gone);
        assert_eq!(world.in_stripe(row.id).await["name"], "B");
        world.assert_in_step(row.id).await;
    }))
    .await;
}

/// A3: the deletion is taken over, and nothing is sent.
#[tokio::test]
async fn a_customer_deleted_in_stripe_is_deleted_here_when_stripe_is_right() {
    Box::pin(each_world(async |world| {
        let row = deleted_in_stripe(&world).await;
        world.forget_requests();
        let outbox = world.outbox().await;
        let gone = world.resolve_parked(row.id, Side::Stripe).await.unwrap();
        assert_eq!((gone.is_deleted(), gone.rev), (true, row.rev + 1));
        assert_eq!(world.outbox().await, outbox + 1);
        world.push(row.id).await;
        world.settle().await;
        assert!(world.calls().is_empty());
        world.assert_gone(row.id).await;
    }))
    .await;
}

/// A3: a retry looks at Stripe again, finds it gone, and makes nothing.
#[tokio::test]
async fn a_retry_creates_nobody_who_was_deleted_in_stripe() {
    let world = World::new().await;
    let row = deleted_in_stripe(&world).await;
    world.forget_requests();
    world.retry_parked(row.id).await.unwrap();
    world.settle().await;
    assert!(world.calls().is_empty());
    assert_eq!(world.in_stripe_count(), 0);
    let reason = world.parked(row.id).await;
    assert_eq!(reason.as_deref(), Some("deleted_in_stripe"));
    assert!(!world.row(row.id).await.is_deleted());
}

/// A5: the key was for another account, where nobody knows the customer; that proves no deletion.
#[tokio::test]
async fn a_retry_after_the_cause_went_away_goes_through() {
    Box::pin(each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io")]).await;
        world.update(row.id, &[("name", "A")]).await;
        world.faults("*", Kind::OtherAccount);
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        let reason = world.parked(row.id).await;
        assert_eq!(reason.as_deref(), Some("unknown_in_stripe"));
        world.retry_parked(row.id).await.unwrap();
        assert_eq!(world.parked(row.id).await, None);
        assert_eq!(world.due().await, 1);
        assert!(world.parked(row.id).await.is_some());
        let nothing = world
            .resolve_parked(row.id, Side::Stripe)
            .await
            .unwrap_err();
        assert!(matches!(nothing, Refused::NotPossible(_)), "{nothing:?}");
        world.heal();
        world.retry_parked(row.id).await.unwrap();
        assert_eq!(world.due().await, 1);
        world.settle().await;
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe_count(), 1);
    }))
    .await;
}

/// A31: an edit un-parks, and so does taking back what Stripe has.
#[tokio::test]
async fn a_refused_value_is_taken_back() {
    Box::pin(each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world
            .update(row.id, &[("name", &too_long()), ("phone", "1")])
            .await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        world.forget_requests();
        world.resolve_parked(row.id, Side::Stripe).await.unwrap();
        world.push(row.id).await;
        world.settle().await;
        assert!(world.calls().is_empty());
        let row = world.row(row.id).await;
        assert_eq!((row.name.as_deref(), row.phone), (Some("A"), None));
        world.assert_in_step(row.id).await;

        // One that never reached Stripe has nothing to take.
        let fresh = world
            .create(&[("email", "b@x.io"), ("name", &too_long())])
            .await;
        world.push(fresh.id).await;
        let refused = world
            .resolve_parked(fresh.id, Side::Stripe)
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::NotPossible(_)), "{refused:?}");
        // Sent again as it is, it is refused again.
        world
            .resolve_parked(fresh.id, Side::Database)
            .await
            .unwrap();
        assert_eq!(world.push(fresh.id).await, Some(Pushed::Parked));
    }))
    .await;
}

/// A25: of two customers with one e-mail in Stripe, ours is kept, or the other one is freed and theirs taken.
#[tokio::test]
async fn an_address_that_is_taken_is_decided_either_way() {
    Box::pin(each_world(async |world| {
        let owner = world.synced(&[("email", "a@x.io")]).await;
        let row = world.synced(&[("email", "b@x.io")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("email", "a@x.io")]);
        world.events().await;
        assert_eq!(world.parked(row.id).await.as_deref(), Some("email_taken"));
        let shown = world.link(row.id).await.parked_stripe_value;
        assert_eq!(shown.as_deref(), Some("a@x.io"));
        let taken = world
            .resolve_parked(row.id, Side::Stripe)
            .await
            .unwrap_err();
        assert!(matches!(taken, Refused::EmailTaken), "{taken:?}");

        world.resolve_parked(row.id, Side::Database).await.unwrap();
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(world.shown(&stripe_id)["email"], "b@x.io");
        world.assert_in_step(row.id).await;

        world.stripe_edits(&stripe_id, &[("email", "a@x.io")]);
        world.events().await;
        world.update(owner.id, &[("email", "c@x.io")]).await;
        world.push(owner.id).await;
        world.forget_requests();
        world.resolve_parked(row.id, Side::Stripe).await.unwrap();
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(world.row(row.id).await.email, "a@x.io");
        assert!(world.calls().is_empty());
        world.assert_in_step(row.id).await;
        world.assert_in_step(owner.id).await;
    }))
    .await;
}

/// A25: the other one has given up the e-mail meanwhile.
#[tokio::test]
async fn a_retry_takes_an_address_that_is_free_by_now() {
    let world = World::new().await;
    let owner = world.synced(&[("email", "a@x.io")]).await;
    let row = world.synced(&[("email", "b@x.io")]).await;
    world.stripe_edits(&world.stripe_id(row.id).await, &[("email", "a@x.io")]);
    world.events().await;
    world.update(owner.id, &[("email", "c@x.io")]).await;
    world.push(owner.id).await;
    world.retry_parked(row.id).await.unwrap();
    world.recheck().await;
    assert_eq!(world.row(row.id).await.email, "a@x.io");
    world.settle().await;
    world.assert_in_step(row.id).await;
}

/// A29: ours goes over what was removed, or spoilt, in Stripe.
#[tokio::test]
async fn an_address_lost_in_stripe_is_sent_again() {
    Box::pin(each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        for lost in ["", UNUSABLE_EMAIL] {
            world.stripe_edits(&stripe_id, &[("email", lost)]);
            world.events().await;
            let none = world
                .resolve_parked(row.id, Side::Stripe)
                .await
                .unwrap_err();
            assert!(matches!(none, Refused::NotPossible(_)), "{none:?}");
            world.resolve_parked(row.id, Side::Database).await.unwrap();
            world.push(row.id).await;
            world.settle().await;
            assert_eq!(world.shown(&stripe_id)["email"], "a@x.io");
            world.assert_in_step(row.id).await;
        }
    }))
    .await;
}

#[tokio::test]
async fn what_is_dismissed_stays_as_it_is_until_it_is_parked_anew() {
    let world = World::new().await;
    let row = world
        .create(&[("email", "a@x.io"), ("name", &too_long())])
        .await;
    world.push(row.id).await;
    world.dismiss_parked(row.id).await.unwrap();
    let dismissed = world.link(row.id).await;
    world.settle().await;
    assert_eq!(world.push(row.id).await, None);
    assert_eq!(world.link(row.id).await, dismissed);
    assert!(dismissed.parked_dismissed_at.is_some());
    world
        .update(row.id, &[("name", &format!("{}y", too_long()))])
        .await;
    let edited = world.dismiss_parked(row.id).await.unwrap_err();
    assert!(
        matches!(edited, Refused::NotFound),
        "an edit has un-parked it"
    );
    world.push(row.id).await;
    assert_eq!(world.link(row.id).await.parked_dismissed_at, None);
}
