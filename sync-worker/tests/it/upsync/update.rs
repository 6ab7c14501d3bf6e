//! A row that Stripe knows, and that was edited since.

use entity::conflict::Winner;
use entity::fields::Field;
use sync_worker::upsync::Pushed;

use crate::harness::World;
use crate::harness::look::{field_values, stamp};

/// A10: the edit in Stripe was not seen yet when ours was sent.
#[tokio::test]
async fn an_update_sends_what_differs_and_an_edit_of_another_field_comes_home_with_the_answer() {
    let world = World::new().await;
    let row = world
        .synced(&[("email", "a@x.io"), ("name", "A"), ("phone", "1")])
        .await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    let edit = |world: &World| world.stripe_edits(&stripe_id, &[("phone", "2")]);
    assert_eq!(world.push_after_read(row.id, edit).await, Pushed::Done);
    assert_eq!(world.calls(), [format!("POST /v1/customers/{stripe_id}")]);
    let row = world.row(row.id).await;
    assert_eq!(
        (row.name.as_deref(), row.phone.as_deref()),
        (Some("B"), Some("2"))
    );
    let shown = world.shown(&stripe_id);
    let revs = [Field::Email, Field::Name].map(|field| stamp(&shown, field).rev);
    assert_eq!(revs, [1, 2]);
    world.assert_in_step(row.id).await;
    assert!(world.conflicts().await.is_empty());
}

/// A11
#[tokio::test]
async fn of_two_edits_of_one_field_the_databases_wins_and_the_other_is_kept_as_a_conflict() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs")]);
    world.update(row.id, &[("name", "ours")]).await;
    world.events().await;
    world.push(row.id).await;
    assert_eq!(world.shown(&stripe_id)["name"], "ours");
    world.events().await;
    world.assert_in_step(row.id).await;
    assert_eq!(world.row(row.id).await.rev, 2);
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].base.as_deref(), Some("A"));
    assert_eq!(conflicts[0].database_value.as_deref(), Some("ours"));
    assert_eq!(conflicts[0].stripe_value.as_deref(), Some("theirs"));
    assert_eq!(conflicts[0].winner, Winner::Database);
    assert!(conflicts[0].resolved_at.is_some());
}

/// A11: nobody had seen the edit in Stripe when ours was sent, long after it was made.
#[tokio::test]
async fn a_push_that_comes_late_looks_before_it_writes_over_an_edit() {
    let world = World::new().await;
    let row = world
        .synced(&[("email", "a@x.io"), ("name", "A"), ("phone", "1")])
        .await;
    let stripe_id = world.stripe_id(row.id).await;
    world
        .update(row.id, &[("name", "ours"), ("phone", "2")])
        .await;
    world.later(std::time::Duration::from_secs(3600));
    world.stripe_edits(&stripe_id, &[("name", "theirs")]);
    world.push(row.id).await;
    assert_eq!(world.calls().len(), 1);
    world.events().await;
    world.assert_in_step(row.id).await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("ours"));
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].stripe_value.as_deref(), Some("theirs"));
}

/// A12
#[tokio::test]
async fn the_same_edit_on_both_sides_costs_no_call() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.update(row.id, &[("name", "B")]).await;
    world.events().await;
    world.push(row.id).await;
    assert!(world.calls().is_empty());
    assert_eq!(world.row(row.id).await.rev, 2);
    world.assert_in_step(row.id).await;
    assert!(world.conflicts().await.is_empty());
}

#[tokio::test]
async fn an_edit_that_was_taken_back_before_the_push_costs_no_call() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    world.update(row.id, &[("name", "A")]).await;
    world.push(row.id).await;
    assert!(world.calls().is_empty());
    world.assert_in_step(row.id).await;
}

/// A14
#[tokio::test]
async fn cleared_blank_and_absent_are_one_value_on_both_sides() {
    let world = World::new().await;
    let row = world
        .synced(&[("email", "a@x.io"), ("name", "A"), ("description", "d")])
        .await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "")]).await;
    world.push(row.id).await;
    assert!(world.shown(&stripe_id)["name"].is_null());
    world.events().await;
    world.assert_in_step(row.id).await;

    world.stripe_edits(&stripe_id, &[("description", "")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.description, None);
    world.assert_in_step(row.id).await;

    world.watch_writes().await;
    world.stripe_edits(&stripe_id, &[("name", "   "), ("phone", " ")]);
    world.forget_requests();
    world.events().await;
    world.pass().await;
    assert!(world.writes().await.is_empty());
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn ten_quick_edits_cost_at_most_two_calls() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    for round in 0..10 {
        let name = format!("name {round}");
        world.update(row.id, &[("name", &name)]).await;
        if round == 4 {
            world.push(row.id).await;
        }
    }
    for _ in 0..10 {
        world.push(row.id).await;
    }
    assert_eq!(world.calls().len(), 2);
    assert_eq!(world.in_stripe(row.id).await["name"], "name 9");
    world.assert_in_step(row.id).await;
}

/// A50: one edit, one call, and nothing comes of its echo.
#[tokio::test]
async fn an_edit_is_one_call_and_its_echo_is_neither_read_nor_written() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    assert_eq!(world.calls().len(), 1);
    world.watch_writes().await;
    world.forget_requests();
    let worked = world.events().await;
    assert_eq!((worked.events, worked.reads, worked.drifts), (1, 0, 0));
    assert!(world.writes().await.is_empty());
    assert_eq!(world.retry().await, 0);
    assert!(world.calls().is_empty());
    assert_eq!(
        field_values(&world.shown(&stripe_id)),
        world.row(row.id).await.fields()
    );
}

#[tokio::test]
async fn an_edit_during_a_push_is_pushed_by_the_one_who_is_at_it() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let delay = std::time::Duration::from_millis(200);
    world.fault(
        "POST /v1/customers/{id}",
        stripe_sandbox::fault::Kind::LatencyAfterEffect { delay },
    );
    let edit = async {
        world.until_called(1).await;
        world.update(row.id, &[("name", "C")]).await;
        // Its message finds the push under way, and is done with.
        assert_eq!(world.push(row.id).await, None);
    };
    let (pushed, ()) = tokio::join!(world.push(row.id), edit);
    assert_eq!(pushed, Some(Pushed::Done));
    assert_eq!(world.calls().len(), 2);
    assert_eq!(world.in_stripe(row.id).await["name"], "C");
    world.assert_in_step(row.id).await;
}

/// A26: here an e-mail has to be given up before the next row can take it, and Stripe sees what the rows are
/// like when it is their turn.
#[tokio::test]
async fn addresses_that_go_round_here_go_round_in_stripe() {
    for count in [2, 3] {
        for looks_between in [false, true] {
            let world = World::new().await;
            let mut ids = Vec::new();
            for place in 0..count {
                let email = format!("{place}@x.io");
                ids.push(world.synced(&[("email", &email)]).await.id);
            }
            world.update(ids[0], &[("email", "none@x.io")]).await;
            if looks_between {
                world.push(ids[0]).await;
            }
            for place in (1..count).rev() {
                let email = format!("{}@x.io", (place + 1) % count);
                world.update(ids[place], &[("email", &email)]).await;
                if looks_between {
                    world.push(ids[place]).await;
                    world.events().await;
                    world.pass().await;
                }
            }
            world.update(ids[0], &[("email", "1@x.io")]).await;
            for id in &ids {
                world.push(*id).await;
            }
            world.settle().await;
            world.pass().await;
            for (place, id) in ids.iter().enumerate() {
                let email = format!("{}@x.io", (place + 1) % count);
                assert_eq!(world.row(*id).await.email, email);
                world.assert_in_step(*id).await;
            }
            assert_eq!(world.in_stripe_count(), count);
            assert!(world.conflicts().await.is_empty());
        }
    }
}
