//! Customers that share an e-mail, or swap theirs: what is shown is what the worker does, and what `apply` does.

use sync_worker::policy::{LinkByEmail, OnDelete, Policy};

use super::*;

/// What holds on either side in the end, without ids and times.
async fn state(world: &World) -> Vec<String> {
    let mut shown = Vec::new();
    for row in world.rows().await {
        let link = world.link(row.id).await;
        let (fields, parked) = (row.fields(), link.parked_reason);
        shown.push(format!("row {fields:?} {parked:?} {:?}", link.stripe_id));
    }
    for entry in world.unmatched().await {
        shown.push(format!("unmatched {} {:?}", entry.stripe_id, entry.reason));
    }
    for customer in world.stripe.sandbox.customers() {
        let named = ["id", "email", "name", "phone"].map(|name| customer[name].to_string());
        shown.push(format!("Stripe {named:?}"));
    }
    shown.sort();
    shown
}

/// The worker and `apply` come to the same, and then nothing is left to do but what was shown as refused.
async fn assert_shown_is_done(policy: Policy, story: impl AsyncFn(&World)) -> Vec<Item> {
    let mut ends = Vec::new();
    let mut shown = Vec::new();
    for by_worker in [true, false] {
        let world = World::with(Setup {
            policy,
            ..Setup::default()
        })
        .await;
        story(&world).await;
        world.later(std::time::Duration::from_secs(1));
        world.watch_writes().await;
        shown = preview(&world).await.items;
        assert_eq!(world.writes().await, [] as [String; 0]);
        if by_worker {
            world.pass().await;
            // The messages of their changes arrive.
            for customer_id in shown.iter().filter_map(|item| item.customer_id) {
                world.push(customer_id).await;
            }
            world.settle_without_events().await;
            world.recheck().await;
            world.settle_without_events().await;
            world.pass().await;
        } else {
            for set in in_groups(shown.clone()) {
                if set.iter().any(Item::is_done) {
                    assert!(are_current(&world.engine, &set).await.unwrap(), "{set:#?}");
                    let done = carry_out_together(&world.engine, &set).await.unwrap();
                    assert!(
                        done.iter().all(|one| *one == Done::Done),
                        "{done:?} {set:#?}"
                    );
                }
            }
            // What waits for a person is only noted by the worker.
            world.pass().await;
            world.recheck().await;
            world.pass().await;
        }
        let left = preview(&world).await.items;
        assert!(!left.iter().any(Item::is_done), "{by_worker}: {left:#?}");
        ends.push(state(&world).await);
    }
    let [by_worker, by_apply] = &ends[..] else {
        panic!("two ends")
    };
    assert_eq!(by_worker, by_apply, "{shown:#?}");
    shown
}

fn kinds(items: &[Item]) -> Vec<String> {
    let kind = |step: &Step| match step {
        Step::Create { on, .. } => format!("create {on:?}"),
        Step::Rename { on, .. } => format!("rename {on:?}"),
        Step::Update { on, .. } => format!("update {on:?}"),
        Step::Delete { on } => format!("delete {on:?}"),
        Step::Refuse { reason, .. } => reason.clone(),
        Step::Link => "link".to_owned(),
        Step::Mark => "mark".to_owned(),
        other => format!("{other:?}"),
    };
    let of = |item: &Item| item.steps.iter().map(kind).collect::<Vec<_>>().join(", ");
    let mut kinds: Vec<_> = items.iter().map(of).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn one_of_several_new_customers_with_one_email_is_created() {
    let shown = assert_shown_is_done(Policy::default(), async |world| {
        for name in ["one", "two", "three"] {
            world.stripe_creates(&[("email", "a@x.io"), ("name", name)]);
            world.later(std::time::Duration::from_secs(1));
        }
        world.stripe_creates(&[("email", "b@x.io")]);
    })
    .await;
    let expected = [
        "create Database",
        "create Database",
        "email_taken",
        "email_taken",
    ];
    assert_eq!(kinds(&shown), expected);
}

#[tokio::test]
async fn one_of_two_customers_is_linked_to_the_new_row() {
    let shown = assert_shown_is_done(Policy::default(), async |world| {
        world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        world.later(std::time::Duration::from_secs(1));
        for phone in ["1", "2"] {
            world.stripe_creates(&[("email", "A@x.io"), ("name", "A"), ("phone", phone)]);
        }
    })
    .await;
    let kinds = kinds(&shown);
    assert_eq!(kinds[0], "email_taken");
    assert!(kinds[1].starts_with("link, "), "{kinds:?}");
    assert_eq!(kinds.len(), 2);
}

#[tokio::test]
async fn swapped_emails_are_renames() {
    let shown = assert_shown_is_done(Policy::default(), async |world| {
        let one = world.synced(&[("email", "a@x.io")]).await;
        let other = world.synced(&[("email", "b@x.io"), ("name", "B")]).await;
        let (one, other) = (
            world.stripe_id(one.id).await,
            world.stripe_id(other.id).await,
        );
        world.stripe_edits(&one, &[("email", "b@x.io"), ("name", "A")]);
        world.stripe_edits(&other, &[("email", "a@x.io")]);
    })
    .await;
    assert_eq!(kinds(&shown), ["rename Database", "rename Database"]);
}

#[tokio::test]
async fn emails_that_went_round_among_three_are_renames() {
    for parked_before in [false, true] {
        let shown = assert_shown_is_done(Policy::default(), async |world| {
            let mut ids = Vec::new();
            for email in ["a@x.io", "b@x.io", "c@x.io"] {
                let row = world.synced(&[("email", email)]).await;
                ids.push(world.stripe_id(row.id).await);
            }
            world.stripe_edits(&ids[0], &[("email", "b@x.io")]);
            if parked_before {
                world.events().await;
            }
            world.stripe_edits(&ids[1], &[("email", "c@x.io")]);
            world.stripe_edits(&ids[2], &[("email", "a@x.io")]);
        })
        .await;
        assert_eq!(kinds(&shown), ["rename Database"; 3]);
    }
}

/// A chain that ends at a free e-mail: each takes the one that the next gives up.
#[tokio::test]
async fn chain_of_renames_is_shown_as_it_ends() {
    for is_newest_first in [true, false] {
        assert_shown_is_done(Policy::default(), async |world| {
            let mut ids = Vec::new();
            for email in ["a@x.io", "b@x.io"] {
                let row = world.synced(&[("email", email)]).await;
                ids.push(world.stripe_id(row.id).await);
                world.later(std::time::Duration::from_secs(1));
            }
            let (taken, free) = match is_newest_first {
                true => (&ids[0], &ids[1]),
                false => (&ids[1], &ids[0]),
            };
            let wanted = if is_newest_first { "b@x.io" } else { "a@x.io" };
            world.stripe_edits(free, &[("email", "free@x.io")]);
            world.stripe_edits(taken, &[("email", wanted)]);
        })
        .await;
    }
}

#[tokio::test]
async fn row_of_a_deleted_customer_is_linked_to_the_other_one() {
    for is_known in [true, false] {
        let shown = assert_shown_is_done(Policy::default(), async |world| {
            let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
            world.stripe_creates(&[("email", "a@x.io"), ("name", "A"), ("phone", "1")]);
            if is_known {
                world.events().await;
            }
            world.stripe_deletes(&world.stripe_id(row.id).await);
            world.later(std::time::Duration::from_secs(1));
        })
        .await;
        assert_eq!(kinds(&shown), ["link, update Database, mark"], "{is_known}");
    }
}

#[tokio::test]
async fn row_of_a_deleted_customer_waits_for_a_person() {
    let review = Policy {
        link_by_email: LinkByEmail::Review,
        ..Policy::default()
    };
    for (policy, others) in [(Policy::default(), 2), (review, 1)] {
        let shown = assert_shown_is_done(policy, async |world| {
            let row = world.synced(&[("email", "a@x.io")]).await;
            for _ in 0..others {
                world.stripe_creates(&[("email", "a@x.io")]);
            }
            world.stripe_deletes(&world.stripe_id(row.id).await);
        })
        .await;
        let mut expected = vec!["deleted_in_stripe"];
        expected.extend(vec!["review"; others]);
        assert_eq!(kinds(&shown), expected);
    }
}

#[tokio::test]
async fn duplicate_of_a_customer_deleted_here_is_refused() {
    for on_database_delete in [OnDelete::Delete, OnDelete::Detach] {
        let policy = Policy {
            on_database_delete,
            ..Policy::default()
        };
        let shown = assert_shown_is_done(policy, async |world| {
            let row = world.synced(&[("email", "a@x.io")]).await;
            world.stripe_creates(&[("email", "a@x.io")]);
            world.delete(row.id).await;
        })
        .await;
        assert_eq!(shown.len(), 2, "{shown:#?}");
        assert!(kinds(&shown).contains(&"customer_deleted".to_owned()));
    }
}
