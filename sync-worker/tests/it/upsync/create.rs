//! A row that Stripe does not know yet.

use entity::fields::Field;
use sync_worker::upsync::Pushed;

use crate::harness::World;
use crate::harness::look::{field_values, stamp};

#[tokio::test]
async fn a_create_reaches_stripe_once_with_the_rows_id_and_rev() {
    let world = World::new().await;
    let row = world
        .create(&[("email", "a@x.io"), ("name", "A"), ("phone", "+1 555")])
        .await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    assert_eq!(world.calls(), ["POST /v1/customers"]);
    let shown = world.in_stripe(row.id).await;
    assert_eq!(field_values(&shown), row.fields());
    assert_eq!(
        shown["metadata"]["customer_sync_id"],
        row.id.to_string().as_str()
    );
    assert_eq!(stamp(&shown, Field::Email).rev, 1);
    let link = world.link(row.id).await;
    assert_eq!((link.synced_rev, link.pushed.unwrap().rev()), (1, Some(1)));
    world.assert_in_step(row.id).await;
}

/// A13, A20
#[tokio::test]
async fn a_message_that_comes_again_sends_nothing() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.push(row.id).await;
    world.forget_requests();
    for _ in 0..5 {
        assert_eq!(world.push(row.id).await, None);
    }
    assert!(world.calls().is_empty() && world.reads().is_empty());
}

/// A13: a message only says where to look, so the one about the edit does what both ask for.
#[tokio::test]
async fn the_message_of_an_edit_before_that_of_the_create_creates_what_the_row_holds_now() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.push(row.id).await;
    assert_eq!(world.calls(), ["POST /v1/customers"]);
    assert_eq!(world.in_stripe(row.id).await["name"], "B");
    assert_eq!(world.link(row.id).await.synced_rev, 2);
}

#[tokio::test]
async fn a_message_about_a_customer_that_never_was_does_nothing() {
    let world = World::new().await;
    world.watch_writes().await;
    assert_eq!(world.push(uuid::Uuid::now_v7()).await, None);
    assert!(world.writes().await.is_empty());
    assert!(world.reads().is_empty());
}

/// A30
#[tokio::test]
async fn every_text_goes_to_stripe_and_comes_home_as_it_is() {
    let world = World::new().await;
    let long = "é".repeat(256);
    let texts = [
        "O'Hara & Sons = 100% + \"quotes\" <b>",
        "a&name=b+c%20d;e",
        "👩‍👩‍👧‍👦 𝒰𝓃𝒾 \u{1F1E9}\u{1F1EA}",
        "مرحبا \u{202E}oil\u{202C}",
        "e\u{301} is not é",
        "null",
        long.as_str(),
    ];
    for (place, text) in texts.iter().enumerate() {
        let email = format!("o'hara+{place}=x@a-b.co.example");
        let row = world.create(&[("email", &email), ("name", text)]).await;
        world.push(row.id).await;
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe(row.id).await["name"], *text);

        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("description", text)]);
        world.events().await;
        assert_eq!(world.row(row.id).await.description.as_deref(), Some(*text));
        world.assert_in_step(row.id).await;
    }
    world.watch_writes().await;
    world.pass().await;
    assert!(world.writes().await.is_empty());
}
