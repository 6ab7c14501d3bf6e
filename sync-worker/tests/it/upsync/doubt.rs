//! Requests whose outcome is not known: whatever became of them, everything happens once.

use std::time::Duration;

use entity::fields::Field;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::apply::Applied;
use sync_worker::upsync::begin::begin;
use sync_worker::upsync::{Begun, Pushed};

use crate::harness::look::stamp;
use crate::harness::{Setup, World};

const A_DAY_AND_AN_HOUR: Duration = Duration::from_secs(25 * 3600);

fn lost_answers() -> [Kind; 6] {
    [
        Kind::ResetAfterEffect,
        Kind::GatewayErrorAfterEffect,
        Kind::TruncatedBody,
        Kind::GarbledBody,
        Kind::EmptyBody,
        Kind::LatencyAfterEffect {
            delay: Duration::from_millis(700),
        },
    ]
}

fn requests_that_never_arrived() -> [Kind; 3] {
    [
        Kind::ResetBeforeEffect,
        Kind::GatewayErrorBeforeEffect,
        Kind::LockTimeout,
    ]
}

async fn impatient() -> World {
    World::with(Setup {
        timeout: Duration::from_millis(300),
        ..Setup::default()
    })
    .await
}

/// A look for what an earlier create has made is cut; the next one must not pass for a retry of a create.
#[tokio::test]
async fn nothing_is_created_for_a_deleted_row() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault("POST /v1/customers", Kind::ResetBeforeEffect);
    assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    world.delete(row.id).await;
    world.later(A_DAY_AND_AN_HOUR);
    let begun = begin(&world.engine, row.id).await.unwrap();
    assert!(matches!(begun, Begun::Push(_)));
    world.later(Duration::from_secs(61));
    world.forget_requests();
    world.settle_without_events().await;
    assert!(world.calls().is_empty(), "{:?}", world.calls());
    world.assert_gone(row.id).await;
}

/// A15
#[tokio::test]
async fn a_create_whose_answer_was_lost_made_one_customer() {
    for kind in lost_answers() {
        let world = impatient().await;
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        world.fault("POST /v1/customers", kind.clone());
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{kind:?}");
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        world.settle().await;
        world.pass().await;
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        world.assert_in_step(row.id).await;
        assert_eq!(world.row(row.id).await.rev, 1, "{kind:?}");
        assert!(world.unmatched().await.is_empty(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_create_that_never_arrived_is_sent_again() {
    for kind in requests_that_never_arrived() {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        world.fault("POST /v1/customers", kind.clone());
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{kind:?}");
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        world.assert_in_step(row.id).await;
    }
}

/// A16: the key has been forgotten.
#[tokio::test]
async fn a_create_whose_answer_was_lost_a_day_ago_is_looked_up_first() {
    for kind in lost_answers() {
        let world = impatient().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        world.fault("POST /v1/customers", kind.clone());
        world.push(row.id).await;
        world.later(A_DAY_AND_AN_HOUR);
        world.due().await;
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        world.settle().await;
        world.assert_in_step(row.id).await;
    }
}

/// A17
#[tokio::test]
async fn a_500_makes_one_customer_whether_or_not_it_was_carried_out() {
    for should_retry in [None, Some(false), Some(true)] {
        for kind in [
            Kind::ErrorAfterEffect { should_retry },
            Kind::ErrorBeforeEffect { should_retry },
        ] {
            let world = World::new().await;
            let row = world.create(&[("email", "a@x.io")]).await;
            world.fault("POST /v1/customers", kind.clone());
            assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{kind:?}");
            // At once, and with it too early, nothing more is tried.
            world.settle().await;
            assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
            world.assert_in_step(row.id).await;
        }
    }
}

/// A18: the first attempt is still at work when the second one comes.
#[tokio::test]
async fn a_create_that_is_still_under_way_is_waited_for() {
    let world = impatient().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let delay = Duration::from_millis(1_500);
    world.fault("POST /v1/customers", Kind::LatencyBeforeEffect { delay });
    assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    assert_eq!(world.retry().await, 1);
    let statuses: Vec<_> = world
        .stripe
        .sandbox
        .requests()
        .into_iter()
        .filter(|request| request.method == "POST")
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses[1..], [Some(409)]);
    world.until_in_stripe(1).await;
    world.settle().await;
    assert_eq!(world.in_stripe_count(), 1);
    world.assert_in_step(row.id).await;
}

/// A19
#[tokio::test]
async fn a_create_keeps_its_first_body_and_the_edit_follows() {
    for kind in [Kind::ResetAfterEffect, Kind::ResetBeforeEffect] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        world.fault("POST /v1/customers", kind.clone());
        world.push(row.id).await;
        world
            .update(row.id, &[("name", "B"), ("email", "b@x.io")])
            .await;
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        assert_eq!(world.in_stripe(row.id).await["email"], "b@x.io");
        world.assert_in_step(row.id).await;
        assert_eq!(world.row(row.id).await.rev, 2, "{kind:?}");
        assert!(world.conflicts().await.is_empty(), "{kind:?}");
        world.assert_keys_stand_for_one_body();
    }
}

/// A16, A17, A19: what the lost create said is looked for, and not what the row says by now.
#[tokio::test]
async fn a_create_that_the_key_tells_nothing_about_is_found_under_its_first_email() {
    for (kind, pause) in [
        (
            Kind::ErrorAfterEffect { should_retry: None },
            Duration::ZERO,
        ),
        (Kind::ResetAfterEffect, A_DAY_AND_AN_HOUR),
    ] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        world.fault("POST /v1/customers", kind.clone());
        world.push(row.id).await;
        world.update(row.id, &[("email", "b@x.io")]).await;
        world.later(pause);
        // Cut down once more before it has looked: what it is to look for must survive.
        world.fault("GET /v1/customers", Kind::ResetBeforeEffect);
        world.push(row.id).await;
        world.retry().await;
        world.settle_without_events().await;
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 1, "{kind:?}");
        assert_eq!(world.in_stripe(row.id).await["email"], "b@x.io");
        world.assert_in_step(row.id).await;
    }
}

/// A22: whoever else has made one with the same e-mail meanwhile.
#[tokio::test]
async fn a_create_in_doubt_is_not_linked_to_somebody_elses_customer() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
    world.fault("POST /v1/customers", Kind::ResetAfterEffect);
    world.push(row.id).await;
    let theirs = world.stripe_creates(&[("email", "a@x.io")]);
    let drift = world.read(&theirs).await;
    assert_eq!(world.apply(&drift).await, Applied::PutAside);
    world.settle().await;
    world.pass().await;
    assert_ne!(world.stripe_id(row.id).await, theirs);
    world.assert_in_step(row.id).await;
    let unmatched = world.unmatched().await;
    assert_eq!((unmatched.len(), &unmatched[0].stripe_id), (1, &theirs));
}

/// A16: the create that nobody heard of was renamed by a person, and the events tell of it.
#[tokio::test]
async fn a_lost_create_that_was_edited_in_stripe_is_linked_by_what_it_says_of_itself() {
    for (email, keeps_stamp) in [
        ("renamed@x.io", true),
        ("renamed@x.io", false),
        ("a@x.io", false),
    ] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        world.fault(
            "POST /v1/customers",
            Kind::ErrorAfterEffect { should_retry: None },
        );
        world.push(row.id).await;
        let customers = world.stripe.sandbox.customers();
        let stripe_id = customers[0]["id"].as_str().unwrap().to_owned();
        world.stripe_edits(&stripe_id, &[("email", email)]);
        if !keeps_stamp {
            world.stripe_edits(&stripe_id, &[("metadata[customer_sync_rev_email]", "")]);
        }
        world.events().await;
        world.settle().await;
        assert_eq!(world.in_stripe_count(), 1);
        assert_eq!(world.stripe_id(row.id).await, stripe_id);
        // Without the stamp nobody can tell who has renamed it: ours wins, and the conflict is kept.
        let expected = if keeps_stamp { email } else { "a@x.io" };
        assert_eq!(world.row(row.id).await.email, expected);
        let is_conflict = email != expected;
        assert_eq!(world.conflicts().await.len(), usize::from(is_conflict));
        world.assert_in_step(row.id).await;
    }
}

/// A16, A17: the same, before anybody has read the events.
#[tokio::test]
async fn a_lost_create_that_was_renamed_in_stripe_is_found_among_those_made_since() {
    for (kind, pause) in [
        (
            Kind::ErrorAfterEffect { should_retry: None },
            Duration::ZERO,
        ),
        (Kind::ResetAfterEffect, A_DAY_AND_AN_HOUR),
    ] {
        for is_cut in [false, true] {
            let world = World::new().await;
            world.stripe_creates(&[("email", "old@x.io")]);
            world.later(Duration::from_secs(3600));
            let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
            world.fault("POST /v1/customers", kind.clone());
            world.push(row.id).await;
            let customers = world.stripe.sandbox.customers();
            let stripe_id = customers[0]["id"].as_str().unwrap().to_owned();
            world.stripe_edits(&stripe_id, &[("email", "renamed@x.io")]);
            for place in 0..150 {
                world.stripe_creates(&[("email", &format!("{place}@x.io"))]);
            }
            world.later(pause);
            if is_cut {
                // The new key is written down, and what it has to look for is not forgotten.
                world.fault("GET /v1/customers", Kind::ResetBeforeEffect);
                world.retry().await;
            }
            world.settle_without_events().await;
            assert_eq!(world.made_for(row.id), 1, "{kind:?}");
            assert_eq!(world.stripe_id(row.id).await, stripe_id);
            world.settle().await;
            world.assert_in_step(row.id).await;
        }
    }
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_sent_again_and_done_once() {
    for kind in lost_answers() {
        let world = impatient().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.update(row.id, &[("name", "B")]).await;
        world.fault("POST /v1/customers/{id}", kind.clone());
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{kind:?}");
        world.settle().await;
        world.assert_in_step(row.id).await;
        assert_eq!(world.row(row.id).await.rev, 2, "{kind:?}");
        let shown = world.in_stripe(row.id).await;
        assert_eq!(
            (&shown["name"], stamp(&shown, Field::Name).rev),
            (&"B".into(), 2)
        );
        let pushed = world.link(row.id).await.pushed.unwrap();
        assert_eq!(pushed.rev(), Some(2), "{kind:?}");
    }
}

/// An edit made in Stripe after the lost write is a person's, and is not undone by the second attempt.
#[tokio::test]
async fn an_edit_upon_an_update_whose_answer_was_lost_survives_the_replay() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.fault("POST /v1/customers/{id}", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "C")]);
    world.retry().await;
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["name"], "C");
    world.assert_in_step(row.id).await;
}

/// The next update has another body and key, and would take the edit back unseen.
#[tokio::test]
async fn an_edit_upon_an_update_whose_answer_was_lost_survives_the_next_update() {
    for (field, theirs, conflicts) in [("name", "C", 1), ("phone", "2", 0)] {
        let world = impatient().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        world.update(row.id, &[("phone", "1")]).await;
        world.fault("POST /v1/customers/{id}", Kind::ResetAfterEffect);
        assert_eq!(world.push(row.id).await, Some(Pushed::Later));
        world.stripe_edits(&stripe_id, &[(field, theirs)]);
        world.update(row.id, &[("name", "B")]).await;
        world.retry().await;
        world.settle().await;
        world.assert_in_step(row.id).await;
        let row = world.row(row.id).await;
        assert_eq!(row.name.as_deref(), Some("B"));
        // What the lost update had sent is no edit of anybody's: the phone is Stripe's only.
        let phone = if field == "phone" { theirs } else { "1" };
        assert_eq!(row.phone.as_deref(), Some(phone));
        assert_eq!(world.conflicts().await.len(), conflicts);
    }
}

/// A look that fails changes nothing of what is in doubt.
#[tokio::test]
async fn an_update_in_doubt_is_looked_at_until_the_look_succeeds() {
    let world = impatient().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("phone", "1")]).await;
    world.fault("POST /v1/customers/{id}", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "2")]);
    world.update(row.id, &[("name", "B")]).await;
    for _ in 0..3 {
        world.fault("GET /v1/customers/{id}", Kind::ResetBeforeEffect);
        assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    }
    assert_eq!(world.calls().len(), 1);
    world.retry().await;
    world.settle().await;
    world.assert_in_step(row.id).await;
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("2"));
}

/// A9: what was taken back here while its way to Stripe was unknown never comes home as an edit.
#[tokio::test]
async fn an_edit_taken_back_while_its_push_was_in_doubt_stays_taken_back() {
    for kind in [Kind::ResetAfterEffect, Kind::ResetBeforeEffect] {
        for other_field in [false, true] {
            let world = World::new().await;
            let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
            world.update(row.id, &[("name", "B")]).await;
            world.fault("POST /v1/customers/{id}", kind.clone());
            world.push(row.id).await;
            world.update(row.id, &[("name", "A")]).await;
            if other_field {
                world.update(row.id, &[("phone", "1")]).await;
            }
            world.push(row.id).await;
            assert_eq!(world.row(row.id).await.name.as_deref(), Some("A"));
            world.settle().await;
            assert_eq!(world.in_stripe(row.id).await["name"], "A", "{kind:?}");
            world.assert_in_step(row.id).await;
            assert!(world.conflicts().await.is_empty());
        }
    }
}

/// The same, where the events are faster than the next attempt.
#[tokio::test]
async fn an_edit_taken_back_is_not_brought_home_by_the_event_of_its_lost_push() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    world.fault("POST /v1/customers/{id}", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.update(row.id, &[("name", "A")]).await;
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("A"));
    world.settle().await;
    assert_eq!(world.in_stripe(row.id).await["name"], "A");
    world.assert_in_step(row.id).await;
}

/// And where a second attempt that has not arrived is in doubt by then, too.
#[tokio::test]
async fn an_edit_taken_back_is_not_brought_home_while_its_own_push_is_in_doubt() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    world.fault("POST /v1/customers/{id}", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.update(row.id, &[("name", "A")]).await;
    world.fault("POST /v1/customers/{id}", Kind::ResetBeforeEffect);
    world.push(row.id).await;
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("A"));
    world.settle().await;
    assert_eq!(world.in_stripe(row.id).await["name"], "A");
    assert_eq!(world.row(row.id).await.rev, 3);
    world.assert_in_step(row.id).await;
}

/// The event of the lost push tells that it was carried out: nothing is sent again.
#[tokio::test]
async fn the_event_of_a_push_whose_answer_was_lost_ends_the_doubt() {
    let world = World::new().await;
    let row = world
        .synced(&[("email", "a@x.io"), ("name", "A"), ("phone", "1")])
        .await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.fault("POST /v1/customers/{id}", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.events().await;
    world.assert_in_step(row.id).await;
    assert_eq!(world.retry().await, 0);
    assert_eq!(world.calls().len(), 1);

    // And what a person makes of the name from now on is that person's edit.
    world.stripe_edits(&stripe_id, &[("name", "C")]);
    world.events().await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.update(row.id, &[("phone", "2")]).await;
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    world.assert_in_step(row.id).await;
}
