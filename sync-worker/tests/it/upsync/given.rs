//! A row that was created with the id of its Stripe customer.

use entity::customer;
use sync_worker::upsync::Pushed;

use crate::harness::{World, each_world};

async fn created(world: &World, stripe_id: &str) -> customer::Model {
    let named = [("email", "a@x.io"), ("name", "ours")];
    let row = world
        .try_create_known(&named, (None, Some(stripe_id)))
        .await;
    row.unwrap()
}

#[tokio::test]
async fn given_customer_is_read_and_united_before_it_is_written() {
    each_world(async |world| {
        let named = [("email", "old@x.io"), ("name", "theirs"), ("phone", "1")];
        let stripe_id = world.stripe_creates(&named);
        let row = created(&world, &stripe_id).await;
        world.push(row.id).await;
        world.settle().await;
        let row = world.row(row.id).await;
        assert_eq!(
            (
                row.email.as_str(),
                row.name.as_deref(),
                row.phone.as_deref()
            ),
            ("a@x.io", Some("ours"), Some("1"))
        );
        // Values that were replaced are kept for people.
        let conflicts = world.conflicts().await;
        let replaced: Vec<_> = conflicts
            .iter()
            .map(|one| one.stripe_value.as_deref())
            .collect();
        assert!(replaced.contains(&Some("old@x.io")) && replaced.contains(&Some("theirs")));
        assert_eq!(world.in_stripe_count(), 1);
        assert_eq!(world.stripe_id(row.id).await, stripe_id);
        let metadata = &world.shown(&stripe_id)["metadata"];
        assert_eq!(metadata["customer_sync_id"], row.id.to_string());
        world.assert_in_step(row.id).await;
    })
    .await;
}

#[tokio::test]
async fn given_customer_with_equal_values_is_claimed() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "ours")]);
    let row = created(&world, &stripe_id).await;
    world.settle().await;
    let metadata = &world.shown(&stripe_id)["metadata"];
    assert_eq!(metadata["customer_sync_id"], row.id.to_string());
    assert_eq!((world.rows().await.len(), world.in_stripe_count()), (1, 1));
    world.assert_in_step(row.id).await;
}

/// Neither a customer that never was nor one that was deleted costs the row, and neither is made anew.
#[tokio::test]
async fn given_customer_that_is_not_there_parks_the_row() {
    let world = World::new().await;
    let gone = world.stripe_creates(&[("email", "gone@x.io")]);
    world.stripe_deletes(&gone);
    for (stripe_id, reason) in [
        (gone.as_str(), "deleted_in_stripe"),
        ("cus_unknown", "unknown_in_stripe"),
    ] {
        let row = created(&world, stripe_id).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        assert_eq!(world.parked(row.id).await.as_deref(), Some(reason));
        world.events().await;
        assert!(!world.row(row.id).await.is_deleted());
        assert!(world.calls().is_empty(), "nothing was sent");
        world.delete(row.id).await;
    }
}

/// A Stripe customer has one row.
#[tokio::test]
async fn given_customer_of_another_row_is_refused() {
    each_world(async |world| {
        let row = world.synced(&[("email", "b@x.io")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        let ids = (None, Some(stripe_id.as_str()));
        let refused = world.try_create_known(&[("email", "a@x.io")], ids).await;
        assert!(matches!(refused, Err(entity::write::Error::StripeIdTaken)));
        assert_eq!(world.rows().await.len(), 1);
    })
    .await;
}
