//! Customers of Stripe's without a row that a person decides.

use entity::decide::{Refused, Side};
use entity::unmatched::Reason;
use platform::test_support::{TestDatabase, each_database};
use sync_worker::policy::{LinkByEmail, Policy};
use sync_worker::upsync::Pushed;

use crate::harness::{Setup, World, each_world};

async fn reviewing(database: TestDatabase) -> World {
    let policy = Policy {
        link_by_email: LinkByEmail::Review,
        ..Policy::default()
    };
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    Box::pin(World::on(database, setup)).await
}

/// A32: one customer once a person says so, and the two are united.
#[tokio::test]
async fn a_customer_under_review_is_linked_by_a_person_and_merged() {
    Box::pin(each_database(async |database| {
        let world = Box::pin(reviewing(database)).await;
        let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("phone", "7")]);
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        world.forget_requests();
        let refused = world
            .resolve_parked(row.id, Side::Stripe)
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::NotPossible(_)), "{refused:?}");
        world.link_unmatched(&stripe_id, row.id).await.unwrap();
        // The push does not overtake the look.
        assert_eq!(world.push(row.id).await, None);
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 1);
        assert_eq!(world.stripe_id(row.id).await, stripe_id);
        let shown = world.shown(&stripe_id);
        assert_eq!(
            (&shown["name"], &shown["phone"]),
            (&"A".into(), &"7".into())
        );
        assert_eq!(world.made_for(row.id), 1, "it names our row");
        assert!(world.unmatched().await.is_empty());
        world.assert_in_step(row.id).await;
        let late = world.link_unmatched(&stripe_id, row.id).await.unwrap_err();
        assert!(matches!(late, Refused::NotFound), "{late:?}");
    }))
    .await;
}

/// A32: they are two, and a person says so; by either door.
#[tokio::test]
async fn a_customer_under_review_that_is_somebody_else_stays_and_ours_is_created() {
    for by_dismissal in [true, false] {
        let database = platform::test_support::sqlite().await;
        let world = Box::pin(reviewing(database)).await;
        let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "theirs")]);
        let row = world.create(&[("email", "a@x.io"), ("name", "ours")]).await;
        world.push(row.id).await;
        // Without a word a retry only asks again.
        world.retry_parked(row.id).await.unwrap();
        world.due().await;
        assert_eq!(world.parked(row.id).await.as_deref(), Some("link_review"));
        if by_dismissal {
            world.dismiss_unmatched(&stripe_id).await.unwrap();
            world.retry_parked(row.id).await.unwrap();
        } else {
            world.resolve_parked(row.id, Side::Database).await.unwrap();
            world.push(row.id).await;
        }
        world.due().await;
        world.settle().await;
        world.pass().await;
        assert_eq!(world.in_stripe_count(), 2);
        assert_ne!(world.stripe_id(row.id).await, stripe_id);
        assert_eq!(world.shown(&stripe_id)["name"], "theirs");
        world.assert_in_step(row.id).await;
        // What is the matter with it now is something else, so it is shown again.
        let entry = world.unmatched().await.remove(0);
        assert_eq!(
            (entry.reason, entry.dismissed_at),
            (Reason::EmailTaken, None)
        );
    }
}

/// A29: it has an e-mail by now, and nobody waits for an event or a pass.
#[tokio::test]
async fn a_customer_that_has_an_address_by_now_is_imported_when_a_person_asks() {
    Box::pin(each_world(async |world| {
        let stripe_id = world.stripe_creates(&[("name", "nobody")]);
        world.events().await;
        world.retry_unmatched(&stripe_id).await.unwrap();
        assert_eq!(world.recheck().await, 1);
        assert_eq!(world.unmatched().await[0].recheck_at, None);
        assert!(world.rows().await.is_empty());
        world.stripe_edits(&stripe_id, &[("email", "a@x.io")]);
        world.retry_unmatched(&stripe_id).await.unwrap();
        assert_eq!(world.recheck().await, 1);
        assert_eq!(world.rows().await.len(), 1);
        assert!(world.unmatched().await.is_empty());
        let unknown = world.retry_unmatched(&stripe_id).await.unwrap_err();
        assert!(matches!(unknown, Refused::NotFound), "{unknown:?}");
    }))
    .await;
}

/// A29: one without an e-mail is linked to a row that is not in Stripe yet, and gets the row's.
#[tokio::test]
async fn a_customer_without_an_address_is_linked_to_a_row() {
    Box::pin(each_world(async |world| {
        let stripe_id = world.stripe_creates(&[("name", "N")]);
        world.events().await;
        let linked = world.synced(&[("email", "b@x.io")]).await;
        let refused = world
            .link_unmatched(&stripe_id, linked.id)
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::Linked), "{refused:?}");
        let deleted = world.create(&[("email", "c@x.io")]).await;
        world.delete(deleted.id).await;
        let refused = world
            .link_unmatched(&stripe_id, deleted.id)
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::NoSuchCustomer), "{refused:?}");

        let row = world.create(&[("email", "a@x.io")]).await;
        world.link_unmatched(&stripe_id, row.id).await.unwrap();
        world.recheck().await;
        world.settle().await;
        assert_eq!(world.shown(&stripe_id)["email"], "a@x.io");
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("N"));
        world.assert_in_step(row.id).await;
    }))
    .await;
}

/// The row was created in Stripe meanwhile: the choice is void, and shown.
#[tokio::test]
async fn a_link_that_comes_too_late_is_void() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("name", "N")]);
    world.events().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.link_unmatched(&stripe_id, row.id).await.unwrap();
    world.push(row.id).await;
    world.settle().await;
    world.assert_in_step(row.id).await;
    let entry = world.unmatched().await.remove(0);
    assert_eq!((entry.link_to, entry.recheck_at), (None, None));
    assert_eq!(
        (entry.reason, entry.customer_id),
        (Reason::Duplicate, Some(row.id))
    );
    assert_eq!(world.in_stripe_count(), 2);
}
