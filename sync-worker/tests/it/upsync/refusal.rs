//! What Stripe refuses for good waits for a person, and holds up nobody else.

use stripe_sandbox::fault::Kind;
use sync_worker::upsync::Pushed;

use crate::harness::World;

fn too_long() -> String {
    "x".repeat(300)
}

/// A31
#[tokio::test]
async fn a_value_that_stripe_refuses_is_parked_with_its_words_and_the_next_edit_goes_through() {
    let world = World::new().await;
    let row = world
        .create(&[("email", "a@x.io"), ("name", &too_long())])
        .await;
    let other = world.create(&[("email", "b@x.io")]).await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
    assert_eq!(world.push(other.id).await, Some(Pushed::Done));
    let link = world.link(row.id).await;
    assert_eq!(link.parked_reason.as_deref(), Some("rejected"));
    assert!(
        link.parked_detail
            .unwrap()
            .contains("at most 256 characters")
    );
    assert!(link.parked_request_id.unwrap().starts_with("req_"));
    assert_eq!((link.parked_rev, link.attempts), (Some(1), 0));

    // No retry is burnt on it.
    let calls = world.calls().len();
    world.settle().await;
    world.missed().await;
    assert_eq!(world.push(row.id).await, None);
    assert_eq!(world.calls().len(), calls);

    world.update(row.id, &[("name", "short")]).await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    world.assert_in_step(row.id).await;
    assert_eq!(world.in_stripe_count(), 2);
}

#[tokio::test]
async fn an_update_that_stripe_refuses_is_parked_and_the_next_edit_goes_through() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world
        .update(row.id, &[("name", &too_long()), ("phone", "1")])
        .await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
    assert_eq!(world.in_stripe(row.id).await["name"], "A");
    // Taking the value back is an edit, too.
    world.update(row.id, &[("name", "A")]).await;
    world.push(row.id).await;
    assert_eq!(world.in_stripe(row.id).await["phone"], "1");
    world.assert_in_step(row.id).await;
}

/// The refused rev is parked; the one that corrects it has had its message already.
#[tokio::test]
async fn an_edit_that_corrects_a_value_while_it_is_being_refused_is_pushed_at_once() {
    let world = World::new().await;
    let row = world
        .create(&[("email", "a@x.io"), ("name", &too_long())])
        .await;
    let delay = std::time::Duration::from_millis(200);
    world.fault("POST /v1/customers", Kind::LatencyAfterEffect { delay });
    let edit = async {
        world.until_called(1).await;
        world.update(row.id, &[("name", "short")]).await;
        assert_eq!(world.push(row.id).await, None);
    };
    let (pushed, ()) = tokio::join!(world.push(row.id), edit);
    assert_eq!(pushed, Some(Pushed::Done));
    world.assert_in_step(row.id).await;
}

/// What a person made of the customer in Stripe comes home while ours is parked.
#[tokio::test]
async fn a_parked_row_still_takes_what_is_edited_in_stripe() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", &too_long())]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "7")]);
    world.settle().await;
    let row = world.row(row.id).await;
    assert_eq!(row.phone.as_deref(), Some("7"));
    assert_eq!(row.name, Some(too_long()));
    assert_eq!(world.parked(row.id).await.as_deref(), Some("rejected"));
}

/// The same, where it is the refused field: the conflict is kept, and nobody looks again and again.
#[tokio::test]
async fn an_edit_in_stripe_of_the_very_field_that_was_refused_is_kept_as_a_conflict() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", &too_long())]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs")]);
    world.settle().await;
    assert_eq!(world.conflicts().await.len(), 1);
    assert_eq!(world.row(row.id).await.name, Some(too_long()));
    assert_eq!(world.parked(row.id).await.as_deref(), Some("rejected"));
    assert_eq!(world.link(row.id).await.next_attempt_at, None);
    assert_eq!(world.calls().len(), 1);
}

/// A look-up that is refused says nothing about the create that may have been carried out.
#[tokio::test]
async fn a_refused_look_up_does_not_forget_a_create_in_doubt() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault(
        "POST /v1/customers",
        Kind::ErrorAfterEffect { should_retry: None },
    );
    world.push(row.id).await;
    world.fault("GET /v1/customers", Kind::Forbidden);
    world.retry().await;
    world.engine.lane.resume();
    world.update(row.id, &[("email", "b@x.io")]).await;
    world.push(row.id).await;
    world.settle_without_events().await;
    assert_eq!(world.in_stripe_count(), 1);
    world.settle().await;
    world.assert_in_step(row.id).await;
}
