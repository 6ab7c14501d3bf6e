//! Which Stripe customer belongs to which row.

use entity::stripe_link;
use entity::unmatched::Reason;
use sea_orm::EntityTrait;
use sync_worker::downsync::apply::Applied;
use sync_worker::policy::{LinkByEmail, Policy};
use sync_worker::upsync::Pushed;

use crate::harness::{Setup, World};

async fn reviewing() -> World {
    let policy = Policy {
        link_by_email: LinkByEmail::Review,
        ..Policy::default()
    };
    World::with(Setup {
        policy,
        ..Setup::default()
    })
    .await
}

async fn lose_links(world: &World) {
    stripe_link::Entity::delete_many()
        .exec(&world.engine.db)
        .await
        .unwrap();
}

/// A22: the oldest gets the row, at every look.
#[tokio::test]
async fn of_many_customers_with_one_email_one_is_linked_and_the_others_are_shown() {
    let world = World::new().await;
    let oldest = world.stripe_creates(&[("email", "a@x.io"), ("name", "oldest")]);
    world.later(std::time::Duration::from_secs(5));
    for name in ["second", "third"] {
        world.stripe_creates(&[("email", "A@x.io"), ("name", name)]);
    }
    let row = world
        .create(&[("email", "a@x.io"), ("name", "oldest")])
        .await;
    world.push(row.id).await;
    assert_eq!(world.stripe_id(row.id).await, oldest);
    for _ in 0..3 {
        world.settle().await;
        world.pass().await;
        assert_eq!(world.stripe_id(row.id).await, oldest);
        assert_eq!(world.rows().await.len(), 1);
        let unmatched = world.unmatched().await;
        assert_eq!(unmatched.len(), 2);
        for entry in unmatched {
            assert_eq!(entry.reason, Reason::EmailTaken);
            assert_eq!(entry.customer_id, Some(row.id));
        }
    }
    assert_eq!(world.in_stripe_count(), 3);
    world.assert_in_step(row.id).await;
}

/// The two never had the e-mail at the same time.
#[tokio::test]
async fn an_old_copy_is_not_linked_to_a_row_that_got_its_email_since() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "theirs")]);
    let old = world.read(&stripe_id).await;
    world.stripe_edits(&stripe_id, &[("email", "b@x.io")]);
    let row = world.create(&[("email", "a@x.io"), ("name", "ours")]).await;
    assert_eq!(world.apply(&old).await, Applied::PutAside);
    world.push(row.id).await;
    world.settle().await;
    world.pass().await;
    assert_ne!(world.stripe_id(row.id).await, stripe_id);
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("ours"));
    world.assert_in_step(row.id).await;
    assert_eq!(world.rows().await.len(), 2);
}

/// A22: nothing of ours is there yet; the pass makes one row of the many.
#[tokio::test]
async fn many_customers_with_one_email_become_one_row() {
    let world = World::new().await;
    for name in ["one", "two", "three"] {
        world.stripe_creates(&[("email", "a@x.io"), ("name", name)]);
    }
    world.pass().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 1);
    let linked = world.stripe_id(rows[0].id).await;
    for _ in 0..3 {
        world.pass().await;
        world.settle().await;
        assert_eq!(world.stripe_id(rows[0].id).await, linked);
        assert_eq!(world.unmatched().await.len(), 2);
    }
    assert!(world.calls().is_empty());
}

/// A23: one customer, whatever the case, and nothing goes to and fro for it.
#[tokio::test]
async fn addresses_that_differ_in_case_or_space_are_one_customer() {
    let world = World::new().await;
    let row = world
        .create(&[("email", " Bob@X.io "), ("name", "Bob")])
        .await;
    let stripe_id = world.stripe_creates(&[("email", "bob@x.IO"), ("name", "Bob")]);
    world.pass().await;
    world.push(row.id).await;
    assert_eq!(world.stripe_id(row.id).await, stripe_id);
    assert_eq!(world.in_stripe_count(), 1);
    world.settle().await;
    world.assert_in_step(row.id).await;
    let calls = world.calls().len();
    assert!(calls <= 1);
    world.watch_writes().await;
    for _ in 0..3 {
        world.pass().await;
        world.push(row.id).await;
    }
    assert!(world.writes().await.is_empty());
    assert_eq!(world.calls().len(), calls);
}

/// A23: one customer, whatever form the domain has on either side, and nothing goes to and fro for it.
#[tokio::test]
async fn forms_of_a_domain_match_one_customer() {
    let forms = [
        "jose@españa.example",
        "jose@xn--espaa-rta.example",
        "Jose@España.example",
    ];
    for (here, there) in [(0, 1), (1, 0), (2, 0), (2, 1), (0, 0)] {
        let (here, there) = (forms[here], forms[there]);
        let world = World::new().await;
        let row = world.create(&[("email", here), ("name", "José")]).await;
        assert_eq!(row.email_key, forms[1]);
        let stripe_id = world.stripe_creates(&[("email", there), ("name", "José")]);
        world.push(row.id).await;
        assert_eq!(world.stripe_id(row.id).await, stripe_id, "{here} {there}");
        assert_eq!(world.in_stripe_count(), 1);
        world.settle().await;
        world.assert_in_step(row.id).await;
        let calls = world.calls().len();
        world.watch_writes().await;
        for _ in 0..2 {
            world.pass().await;
            world.push(row.id).await;
        }
        assert!(world.writes().await.is_empty());
        assert_eq!(world.calls().len(), calls);
    }
}

/// What Stripe holds is a customer here: by a page, or one at a time.
#[tokio::test]
async fn real_addresses_of_stripe_become_customers() {
    let world = World::new().await;
    let emails = [
        ".taro@example.com",
        "jose@españa.example",
        "taro..yamada@docomo.example",
        "taro.@ezweb.example",
    ];
    for email in emails {
        world.stripe_creates(&[("email", email)]);
    }
    world.pass().await;
    world.stripe_creates(&[("email", "Jose@xn--espaa-rta.example")]);
    world.events().await;
    world.settle().await;
    let mut rows: Vec<_> = world
        .rows()
        .await
        .into_iter()
        .map(|row| row.email)
        .collect();
    rows.sort();
    assert_eq!(rows, emails);
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1, "{unmatched:?}");
    assert_eq!(unmatched[0].reason, Reason::EmailTaken);
    assert!(world.calls().is_empty());
}

/// A23: a person changes the form of the domain only.
#[tokio::test]
async fn domain_form_changed_in_stripe_is_applied_and_kept() {
    let world = World::new().await;
    let row = world.synced(&[("email", "bob@münchen.de")]).await;
    let ascii = "bob@xn--mnchen-3ya.de";
    world.stripe_edits(&world.stripe_id(row.id).await, &[("email", ascii)]);
    world.events().await;
    world.settle().await;
    let row = world.row(row.id).await;
    assert_eq!((row.email.as_str(), row.email_key.as_str()), (ascii, ascii));
    assert!(world.calls().is_empty());
    world.assert_in_step(row.id).await;
}

/// A23: a person changes the case only.
#[tokio::test]
async fn a_change_of_case_in_stripe_comes_home_and_stays() {
    let world = World::new().await;
    let row = world.synced(&[("email", "bob@x.io")]).await;
    world.stripe_edits(&world.stripe_id(row.id).await, &[("email", "Bob@x.io")]);
    world.events().await;
    world.settle().await;
    let row = world.row(row.id).await;
    assert_eq!(
        (row.email.as_str(), row.email_key.as_str()),
        ("Bob@x.io", "bob@x.io")
    );
    assert!(world.calls().is_empty());
    world.assert_in_step(row.id).await;
}

/// A21: by what each customer in Stripe says of itself.
#[tokio::test]
async fn lost_links_are_found_again_and_nothing_is_created() {
    for by_pass in [true, false] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let edited = world.synced(&[("email", "b@x.io"), ("name", "B")]).await;
        let renamed = world.synced(&[("email", "c@x.io"), ("name", "C")]).await;
        let ids = [row.id, edited.id, renamed.id];
        let mut linked = Vec::new();
        for id in ids {
            linked.push(world.stripe_id(id).await);
        }
        lose_links(&world).await;
        world.update(edited.id, &[("name", "ours")]).await;
        if by_pass {
            // Only the pass can find one that was renamed meanwhile.
            world.stripe_edits(&linked[2], &[("email", "theirs@x.io")]);
            world.pass().await;
        }
        for id in ids {
            world.push(id).await;
        }
        world.settle().await;
        for (id, stripe_id) in ids.into_iter().zip(&linked) {
            assert_eq!(world.stripe_id(id).await, *stripe_id, "by pass: {by_pass}");
            world.assert_in_step(id).await;
        }
        assert_eq!(world.row(edited.id).await.name.as_deref(), Some("ours"));
        assert_eq!(world.in_stripe_count(), 3);
        assert!(world.unmatched().await.is_empty());
    }
}

/// A21: of a customer that we never wrote to there is only the address.
#[tokio::test]
async fn a_lost_link_to_an_imported_customer_is_found_by_its_address() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "A")]);
    world.pass().await;
    let row = world.rows().await.remove(0);
    lose_links(&world).await;
    world.pass().await;
    world.settle().await;
    assert_eq!(world.stripe_id(row.id).await, stripe_id);
    assert_eq!(world.in_stripe_count(), 1);
    world.assert_in_step(row.id).await;
}

/// A restored database has lost revs that Stripe has seen: what they said comes home.
#[tokio::test]
async fn what_a_restored_database_has_lost_comes_home_from_stripe() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let (old_row, old_link) = (world.row(row.id).await, world.link(row.id).await);
    for name in ["B", "C", "D"] {
        world.update(row.id, &[("name", name)]).await;
        world.push(row.id).await;
    }
    world.events().await;
    world.restore(old_row, old_link).await;
    world.forget_requests();
    world.pass().await;
    world.recheck().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("D"));
    assert!(world.calls().is_empty());
    world.assert_in_step(row.id).await;
    // From here on all is as ever, in both directions.
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "E")]).await;
    world.push(row.id).await;
    world.events().await;
    for name in ["F", "E", "D"] {
        world.stripe_edits(&stripe_id, &[("name", name)]);
        world.events().await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some(name));
    }
    world.assert_in_step(row.id).await;
}

/// A32
#[tokio::test]
async fn link_by_email_on_links_and_unites_and_deletes_nothing() {
    for push_first in [true, false] {
        let world = World::new().await;
        let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "N"), ("phone", "1")]);
        let row = world
            .create(&[("email", "a@x.io"), ("name", "N"), ("description", "d")])
            .await;
        if push_first {
            world.push(row.id).await;
        } else {
            world.pass().await;
        }
        world.settle().await;
        assert_eq!(world.stripe_id(row.id).await, stripe_id);
        let united = world.row(row.id).await;
        assert_eq!(united.phone.as_deref(), Some("1"));
        assert_eq!(world.shown(&stripe_id)["description"], "d");
        assert_eq!(world.made_for(row.id), 1);
        assert_eq!(world.in_stripe_count(), 1);
        assert!(world.conflicts().await.is_empty());
        world.assert_in_step(row.id).await;
    }
}

/// A32
#[tokio::test]
async fn link_by_email_review_links_nothing_and_shows_it() {
    for push_first in [true, false] {
        let world = reviewing().await;
        let stripe_id = world.stripe_creates(&[("email", "a@x.io"), ("name", "theirs")]);
        let row = world.create(&[("email", "a@x.io"), ("name", "ours")]).await;
        if push_first {
            assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
            world.pass().await;
        } else {
            world.pass().await;
            assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        }
        world.settle().await;
        world.pass().await;
        assert_eq!(world.parked(row.id).await.as_deref(), Some("link_review"));
        assert_eq!(world.link(row.id).await.stripe_id, None);
        let unmatched = world.unmatched().await;
        assert_eq!(unmatched.len(), 1);
        assert_eq!(
            (&unmatched[0].stripe_id, unmatched[0].reason),
            (&stripe_id, Reason::Review)
        );
        assert_eq!(unmatched[0].customer_id, Some(row.id));
        assert!(world.calls().is_empty());
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("ours"));
        assert_eq!(world.shown(&stripe_id)["name"], "theirs");

        // An edit looks again, and finds the same.
        world.update(row.id, &[("name", "ours still")]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Parked));
        // Another address is nobody's.
        world.update(row.id, &[("email", "b@x.io")]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Done));
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe_count(), 2);
    }
}

/// A32: who has the address is decided by then; an entry of what is linked would mislead.
#[tokio::test]
async fn what_was_unmatched_and_is_linked_is_shown_no_more() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("name", "nobody")]);
    world.events().await;
    assert_eq!(world.unmatched().await.len(), 1);
    world.stripe_edits(&stripe_id, &[("email", "a@x.io")]);
    let row = world
        .create(&[("email", "a@x.io"), ("name", "nobody")])
        .await;
    world.push(row.id).await;
    assert_eq!(world.stripe_id(row.id).await, stripe_id);
    world.settle().await;
    assert!(world.unmatched().await.is_empty());
}

#[tokio::test]
async fn what_was_unmatched_and_is_deleted_is_shown_no_more() {
    let world = World::new().await;
    let stripe_id = world.stripe_creates(&[("name", "nobody")]);
    world.events().await;
    assert_eq!(world.unmatched().await.len(), 1);
    world.stripe_deletes(&stripe_id);
    world.events().await;
    assert!(world.unmatched().await.is_empty());
}

/// A28: a look-up by the address that a row had before must not hit the customer that has it now.
#[tokio::test]
async fn a_new_customer_with_an_address_given_up_just_now_gets_one_of_its_own() {
    let world = World::new().await;
    let first = world
        .synced(&[("email", "a@x.io"), ("name", "first")])
        .await;
    let first_id = world.stripe_id(first.id).await;
    world.update(first.id, &[("email", "b@x.io")]).await;
    let second = world
        .create(&[("email", "a@x.io"), ("name", "second")])
        .await;
    // The second one is pushed first, and a look at the first one's customer comes in between.
    world.push(second.id).await;
    world.stripe_edits(&first_id, &[("phone", "1")]);
    world.events().await;
    world.push(first.id).await;
    world.settle().await;
    assert_eq!(world.stripe_id(first.id).await, first_id);
    assert_ne!(world.stripe_id(second.id).await, first_id);
    assert_eq!(world.shown(&first_id)["email"], "b@x.io");
    assert_eq!(world.row(first.id).await.phone.as_deref(), Some("1"));
    assert_eq!(world.in_stripe_count(), 2);
    world.assert_in_step(first.id).await;
    world.assert_in_step(second.id).await;
}

/// A58
#[tokio::test]
async fn the_first_sync_of_two_full_sides_is_a_union() {
    let world = World::new().await;
    let mut ours = Vec::new();
    for place in 0..6 {
        let email = format!("{place}@x.io");
        ours.push(
            world
                .create(&[("email", &email), ("name", &email)])
                .await
                .id,
        );
    }
    for place in 3..9 {
        let (email, name) = (format!("{place}@x.io"), format!("{place}@x.io"));
        world.stripe_creates(&[("email", &email), ("name", &name), ("phone", "1")]);
    }
    world.pass().await;
    for id in &ours {
        world.push(*id).await;
    }
    world.settle().await;
    world.pass().await;
    assert_eq!(world.rows().await.len(), 9);
    assert_eq!(world.in_stripe_count(), 9);
    for row in world.rows().await {
        world.assert_in_step(row.id).await;
    }
    let deletes = world
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("DELETE"));
    assert_eq!(deletes.count(), 0);
}
