//! What is shown of one customer, kind by kind.

use entity::merge::{Owner, Owners};
use sync_worker::policy::{LinkByEmail, OnDelete};

use super::*;
use crate::harness::fields;

fn refused(item: &Item) -> Vec<&str> {
    let reasons = item.steps.iter().filter_map(|step| match step {
        Step::Refuse { reason, next_step } => {
            assert!(next_step.ends_with('.'));
            Some(reason.as_str())
        }
        _ => None,
    });
    reasons.collect()
}

#[tokio::test]
async fn a_new_row_is_created_in_stripe_and_a_new_customer_here() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
    let item = only(&world).await;
    assert_eq!((item.customer_id, &item.stripe_id), (Some(row.id), &None));
    assert_eq!((item.was.rev, item.was.synced_rev), (Some(1), None));
    let created = Step::Create {
        on: Side::Stripe,
        fields: row.fields(),
    };
    assert_eq!(item.steps, [created]);
    world.push(row.id).await;
    let stripe_id = world.stripe_creates(&[("email", "b@x.io")]);
    let item = only(&world).await;
    assert_eq!((item.customer_id, item.stripe_id), (None, Some(stripe_id)));
    let imported = Step::Create {
        on: Side::Database,
        fields: fields(&[("email", "b@x.io")]),
    };
    assert_eq!(item.steps, [imported]);
}

#[tokio::test]
async fn an_edit_of_one_side_is_an_update_of_the_other_field_by_field() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    let update = |on, field, from, to| Step::Update {
        on,
        changes: change(field, from, to),
    };
    let out = update(Side::Stripe, Field::Name, "A", "B");
    assert_eq!(only(&world).await.steps, std::slice::from_ref(&out));
    world.stripe_edits(&stripe_id, &[("email", "b@x.io")]);
    let item = only(&world).await;
    let rename = Step::Rename {
        on: Side::Database,
        changes: change(Field::Email, "a@x.io", "b@x.io"),
    };
    assert_eq!(item.steps, [rename, out]);
    assert_eq!((item.was.rev, item.was.synced_rev), (Some(2), Some(1)));
    assert_eq!(item.email.as_deref(), Some("a@x.io"));
}

#[tokio::test]
async fn a_clash_names_both_values_and_the_winner() {
    for (owner, winner) in [
        (Owner::Database, Some(Side::Database)),
        (Owner::Stripe, Some(Side::Stripe)),
        (Owner::Manual, None),
    ] {
        let mut setup = Setup::default();
        setup.policy.owners = Owners::all(owner);
        let world = World::with(setup).await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.update(row.id, &[("name", "ours")]).await;
        world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "theirs")]);
        let steps = only(&world).await.steps;
        let clash = Step::Conflict {
            field: Field::Name,
            base: Some("A".to_owned()),
            database: Some("ours".to_owned()),
            stripe: Some("theirs".to_owned()),
            winner,
        };
        let (on, from, to) = match winner {
            Some(Side::Stripe) => (Side::Database, "ours", "theirs"),
            _ => (Side::Stripe, "theirs", "ours"),
        };
        let changes = change(Field::Name, from, to);
        let update = Step::Update { on, changes };
        let expected = match winner {
            Some(Side::Database) => vec![clash, update],
            Some(Side::Stripe) => vec![update, clash],
            None => vec![clash],
        };
        assert!(steps.starts_with(&expected), "{owner:?}: {steps:?}");
    }
}

#[tokio::test]
async fn a_delete_is_passed_on_or_cuts_the_link_as_the_policy_says() {
    for on_delete in [OnDelete::Delete, OnDelete::Detach] {
        let mut setup = Setup::default();
        setup.policy.on_database_delete = on_delete;
        setup.policy.on_stripe_delete = on_delete;
        let world = World::with(setup).await;
        let step = |on| match on_delete {
            OnDelete::Delete => Step::Delete { on },
            OnDelete::Detach => Step::Detach { on },
        };
        let here = world.synced(&[("email", "a@x.io")]).await;
        world.delete(here.id).await;
        assert_eq!(only(&world).await.steps, [step(Side::Stripe)]);
        world.push(here.id).await;
        let there = world.synced(&[("email", "b@x.io")]).await;
        world.stripe_deletes(&world.stripe_id(there.id).await);
        let item = only(&world).await;
        assert_eq!(item.steps, [step(Side::Database)]);
        assert_eq!(carry_out(&world.engine, &item).await.unwrap(), Done::Done);
        assert_eq!(preview(&world).await.items, []);
    }
}

#[tokio::test]
async fn two_who_share_the_e_mail_are_linked_or_left_to_a_person() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
    world.later(std::time::Duration::from_secs(1));
    let stripe_id = world.stripe_creates(&[("email", "A@x.io"), ("phone", "1")]);
    let item = only(&world).await;
    assert_eq!(item.steps[0], Step::Link, "{item:?}");
    assert!(item.steps.iter().any(Step::is_pushed));
    assert_eq!(item.customer_id, Some(row.id));
    assert_eq!(item.stripe_id, Some(stripe_id.clone()));
    assert_eq!(carry_out(&world.engine, &item).await.unwrap(), Done::Done);
    assert_eq!(world.stripe_id(row.id).await, stripe_id);
    assert_eq!(preview(&world).await.items, []);

    let mut setup = Setup::default();
    setup.policy.link_by_email = LinkByEmail::Review;
    let world = World::with(setup).await;
    world.create(&[("email", "a@x.io")]).await;
    world.stripe_creates(&[("email", "a@x.io")]);
    assert_eq!(refused(&only(&world).await), ["review"]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_its_reason() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("email", ""), ("name", "B")]);
    let item = only(&world).await;
    let update = Step::Update {
        on: Side::Database,
        changes: change(Field::Name, "A", "B"),
    };
    assert_eq!(item.steps[0], update);
    assert_eq!(refused(&item), ["email_removed_in_stripe"]);
    world.stripe_edits(&stripe_id, &[("email", "a@x.io")]);
    world.pass().await;
    // Edited here, and deleted there.
    world.update(row.id, &[("phone", "1")]).await;
    world.stripe_deletes(&stripe_id);
    let item = only(&world).await;
    assert_eq!(refused(&item), ["deleted_in_stripe"]);
    assert!(!item.is_done());
    // Once it is written down that a person has to look, it is shown as well.
    world.events().await;
    assert_eq!(refused(&only(&world).await), ["deleted_in_stripe"]);
}

#[tokio::test]
async fn a_push_under_way_is_waited_for() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let begun = sync_worker::upsync::begin::begin(&world.engine, row.id).await;
    assert!(matches!(begun, Ok(sync_worker::upsync::Begun::Push(_))));
    assert_eq!(only(&world).await.steps, [Step::Wait]);
}
