//! E-mails that a row can't have: the rest of the customer goes on, and it heals by itself.

use entity::unmatched::Reason;

use crate::harness::{UNUSABLE_EMAIL, World, each_world};

/// A25
#[tokio::test]
async fn a_rename_in_stripe_onto_a_taken_address_is_parked_and_heals_when_the_address_is_free() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let owner = world.synced(&[("email", "b@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("email", "B@x.io"), ("name", "B")]);
    world.events().await;
    let kept = world.row(row.id).await;
    assert_eq!(
        (kept.email.as_str(), kept.name.as_deref()),
        ("a@x.io", Some("B"))
    );
    let link = world.link(row.id).await;
    assert_eq!(link.parked_reason.as_deref(), Some("email_taken"));
    assert!(link.parked_detail.is_some());

    // No loop: nothing is written or sent while it is so.
    world.watch_writes().await;
    world.settle().await;
    world.pass().await;
    world.push(row.id).await;
    assert!(world.writes().await.is_empty());
    assert!(world.calls().is_empty());

    world.update(owner.id, &[("email", "c@x.io")]).await;
    world.push(owner.id).await;
    world.pass().await;
    assert_eq!(world.row(row.id).await.email, "B@x.io");
    world.assert_in_step(row.id).await;
    world.assert_in_step(owner.id).await;
}

/// A25: our edits of other fields go on reaching Stripe, before the park and after it.
#[tokio::test]
async fn a_taken_address_holds_up_no_other_field() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.synced(&[("email", "b@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.stripe_edits(&stripe_id, &[("email", "b@x.io")]);
    world.events().await;
    assert_eq!(world.parked(row.id).await.as_deref(), Some("email_taken"));
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["name"], "B");
    world.update(row.id, &[("phone", "1")]).await;
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["phone"], "1");
    assert_eq!(world.shown(&stripe_id)["email"], "b@x.io");
    assert_eq!(world.parked(row.id).await.as_deref(), Some("email_taken"));
    assert_eq!(
        world.link(row.id).await.synced_rev,
        world.row(row.id).await.rev
    );
}

/// A25: an edit of the address here is a person's way out.
#[tokio::test]
async fn another_address_given_here_goes_to_stripe_and_ends_the_park() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    world.synced(&[("email", "b@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("email", "b@x.io")]);
    world.events().await;
    world.update(row.id, &[("email", "c@x.io")]).await;
    // A look in between changes nothing about it.
    world.pass().await;
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["email"], "c@x.io");
    world.assert_in_step(row.id).await;
}

/// A26
#[tokio::test]
async fn two_customers_that_swap_their_addresses_in_stripe_swap_them_here() {
    each_world(async |world| swap(&world).await).await;
}

async fn swap(world: &World) {
    let one = world.synced(&[("email", "a@x.io"), ("name", "one")]).await;
    let two = world.synced(&[("email", "b@x.io"), ("name", "two")]).await;
    world.stripe_edits(&world.stripe_id(one.id).await, &[("email", "b@x.io")]);
    world.stripe_edits(&world.stripe_id(two.id).await, &[("email", "a@x.io")]);
    world.events().await;
    world.pass().await;
    assert_eq!(world.row(one.id).await.email, "b@x.io");
    assert_eq!(world.row(two.id).await.email, "a@x.io");
    for id in [one.id, two.id] {
        let (row, link) = (world.row(id).await, world.link(id).await);
        assert_eq!((link.base, link.synced_rev), (Some(row.fields()), row.rev));
        assert_eq!((row.rev, link.parked_reason), (2, None));
    }
    assert!(world.calls().is_empty());
}

/// A26
#[tokio::test]
async fn addresses_that_go_round_among_three_in_stripe_go_round_here() {
    let world = World::new().await;
    let mut rows = Vec::new();
    for email in ["a@x.io", "b@x.io", "c@x.io"] {
        rows.push(world.synced(&[("email", email)]).await);
    }
    for (row, email) in rows.iter().zip(["b@x.io", "c@x.io", "a@x.io"]) {
        world.stripe_edits(&world.stripe_id(row.id).await, &[("email", email)]);
    }
    world.pass().await;
    world.pass().await;
    world.settle().await;
    for (row, email) in rows.iter().zip(["b@x.io", "c@x.io", "a@x.io"]) {
        assert_eq!(world.row(row.id).await.email, email);
        world.assert_in_step(row.id).await;
    }
}

/// A29
#[tokio::test]
async fn a_customer_without_an_address_is_shown_and_becomes_a_row_when_it_gets_one() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("name", "nobody")]);
    world.events().await;
    world.pass().await;
    assert!(world.rows().await.is_empty());
    let unmatched = world.unmatched().await;
    assert_eq!(
        (&unmatched[0].stripe_id, unmatched[0].reason),
        (&stripe_id, Reason::NoEmail)
    );
    world.stripe_edits(&stripe_id, &[("email", "a@x.io")]);
    world.events().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 1);
    assert!(world.unmatched().await.is_empty());
    world.assert_in_step(rows[0].id).await;
}

#[tokio::test]
async fn a_customer_with_an_address_that_no_row_can_have_is_shown() {
    let world = World::new().await;
    world.stripe_creates(&[("email", UNUSABLE_EMAIL)]);
    world.events().await;
    assert!(world.rows().await.is_empty());
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched[0].reason, Reason::InvalidEmail);
    assert_eq!(unmatched[0].email.as_deref(), Some(UNUSABLE_EMAIL));
}

/// A29
#[tokio::test]
async fn a_customer_that_loses_its_address_in_stripe_is_parked_until_it_has_one() {
    for (lost, reason) in [
        ("", "email_removed_in_stripe"),
        (UNUSABLE_EMAIL, "email_invalid_in_stripe"),
    ] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("email", lost), ("name", "B")]);
        world.events().await;
        let kept = world.row(row.id).await;
        assert_eq!(
            (kept.email.as_str(), kept.name.as_deref()),
            ("a@x.io", Some("B"))
        );
        assert!(!kept.is_deleted());
        assert_eq!(world.parked(row.id).await.as_deref(), Some(reason));
        world.watch_writes().await;
        world.pass().await;
        assert!(world.writes().await.is_empty());

        // The same one again, or another.
        for email in ["a@x.io", "other@x.io"] {
            world.stripe_edits(&stripe_id, &[("email", email)]);
            world.events().await;
            assert_eq!(world.row(row.id).await.email, email);
            world.assert_in_step(row.id).await;
            world.stripe_edits(&stripe_id, &[("email", lost)]);
            world.events().await;
            assert_eq!(world.parked(row.id).await.as_deref(), Some(reason));
        }
        assert!(world.calls().is_empty());
    }
}

/// The address that we have given it meanwhile is on its way already.
#[tokio::test]
async fn an_address_removed_in_stripe_does_not_hold_up_the_one_we_are_sending() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("email", "b@x.io")]).await;
    world.stripe_edits(&stripe_id, &[("email", "")]);
    world.events().await;
    assert_eq!(world.parked(row.id).await, None);
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["email"], "b@x.io");
    world.assert_in_step(row.id).await;
}
