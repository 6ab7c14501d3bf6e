//! A copy that is older than what we know undoes nothing.

use std::time::Duration;

use entity::fields::Field;
use entity::message::{Drift, Moment};
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::apply::Applied;
use sync_worker::observe::store::Observed;
use sync_worker::upsync::begin::{Begun, begin};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::send;
use uuid::Uuid;

use crate::harness::World;
use crate::harness::look::stamp;

const UPDATE: &str = "POST /v1/customers/{id}";

const NOTHING: Applied = Applied::Observed(Observed::Nothing);

/// A8: the row is committed and nobody has pushed it yet.
#[tokio::test]
async fn an_edit_that_waits_for_its_push_is_not_undone_by_a_look_at_stripe() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let drift = world.read(&world.stripe_id(row.id).await).await;
    assert_eq!(world.apply(&drift).await, NOTHING);
    world.pass().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    world.push(row.id).await;
    assert_eq!(world.in_stripe(row.id).await["name"], "B");
    world.assert_in_step(row.id).await;
}

/// A8: the page was read before the push and is applied after it.
#[tokio::test]
async fn a_copy_read_before_a_push_and_applied_after_it_is_put_aside_and_read_again() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    // What a person edited meanwhile is in the copy, too.
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    let stale = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.update(row.id, &[("phone", "2")]).await;
    world.push(row.id).await;
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
    let kept = world.row(row.id).await;
    assert_eq!(
        (kept.name.as_deref(), kept.phone.as_deref()),
        (Some("B"), Some("2"))
    );
    world.forget_requests();
    assert_eq!(world.recheck().await, 1);
    assert_eq!(world.reads(), [format!("GET /v1/customers/{stripe_id}")]);
    assert_eq!(world.recheck().await, 0);
    world.assert_in_step(row.id).await;
}

/// A8: and while the push is on the line.
#[tokio::test]
async fn a_copy_that_comes_during_a_push_is_put_aside_and_read_again_after_it() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
        panic!("the push begins");
    };
    let before = world.read(&stripe_id).await;
    let sent = send(&world.engine, &push).await.unwrap();
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    let after = world.read(&stripe_id).await;
    assert_eq!(world.apply(&before).await, Applied::PutAside);
    assert_eq!(world.apply(&after).await, Applied::PutAside);
    // Nothing is read while the answer would be put aside again.
    world.forget_requests();
    world.recheck().await;
    assert!(world.reads().is_empty());
    finish(&world.engine, &push, sent).await.unwrap();
    world.recheck().await;
    let row = world.row(row.id).await;
    assert_eq!(
        (row.name.as_deref(), row.phone.as_deref()),
        (Some("B"), Some("1"))
    );
    world.assert_in_step(row.id).await;
}

/// The same for a create: what a person made of it before its answer was written down is not missed.
#[tokio::test]
async fn an_edit_upon_a_create_that_is_on_the_line_comes_home() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
    let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
        panic!("the push begins");
    };
    let sent = send(&world.engine, &push).await.unwrap();
    let stripe_id = world.stripe.sandbox.customers()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    world.events().await;
    world.recheck().await;
    finish(&world.engine, &push, sent).await.unwrap();
    world.recheck().await;
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("1"));
    world.assert_in_step(row.id).await;
}

/// A8: Stripe does not take the push for an hour.
#[tokio::test]
async fn an_edit_that_is_retried_for_an_hour_is_not_undone() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.faults("POST /v1/customers/{id}", Kind::GatewayErrorBeforeEffect);
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    for _ in 0..4 {
        world.later(std::time::Duration::from_secs(900));
        world.due().await;
        world.pass().await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    }
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("1"));
    world.heal();
    world.settle().await;
    let row = world.row(row.id).await;
    assert_eq!(
        (row.name.as_deref(), row.phone.as_deref()),
        (Some("B"), Some("1"))
    );
    world.assert_in_step(row.id).await;
}

/// A8: the edit commits while a copy of the state before it is being applied.
#[tokio::test]
async fn an_edit_between_the_read_and_the_apply_of_another_field_survives() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    let drift = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    assert_eq!(
        world.apply(&drift).await,
        Applied::Observed(Observed::Taken)
    );
    let link = world.link(row.id).await;
    assert_eq!(link.synced_rev, 1);
    assert!(link.next_attempt_at.is_some());
    world.push(row.id).await;
    let row = world.row(row.id).await;
    assert_eq!(
        (row.name.as_deref(), row.phone.as_deref()),
        (Some("B"), Some("1"))
    );
    world.assert_in_step(row.id).await;
}

/// A9
#[tokio::test]
async fn the_echo_of_an_edit_that_was_replaced_never_shows_here() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    let echo_of_b = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "C")]).await;
    // Before its push, after it, and by the events of both.
    world.apply(&echo_of_b).await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
    world.push(row.id).await;
    world.apply(&echo_of_b).await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
    world.settle().await;
    assert_eq!(world.row(row.id).await.rev, 3);
    assert_eq!(world.shown(&stripe_id)["name"], "C");
    world.assert_in_step(row.id).await;
}

/// A39: two copies, the older one last.
#[tokio::test]
async fn an_older_copy_does_not_undo_a_newer_one() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    let older = world.read(&stripe_id).await;
    world.stripe_edits(&stripe_id, &[("name", "C")]);
    let newer = world.read(&stripe_id).await;
    world.apply(&newer).await;
    assert_eq!(world.apply(&older).await, Applied::PutAside);
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
    world.recheck().await;
    assert_eq!(world.row(row.id).await.rev, 2);
    world.assert_in_step(row.id).await;
}

/// A1
#[tokio::test]
async fn a_stale_page_does_not_revive_what_was_deleted() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    let stale = world.read(&stripe_id).await;
    world.delete(row.id).await;
    // Before the delete was pushed, and after.
    world.apply(&stale).await;
    assert!(world.rows().await.is_empty());
    world.push(row.id).await;
    world.apply(&stale).await;
    world.settle().await;
    world.apply(&stale).await;
    assert!(world.rows().await.is_empty());
    assert!(world.unmatched().await.is_empty());
}

/// The fence is by the order of moments alone.
#[tokio::test]
async fn a_copy_from_before_the_last_push_counts_for_nothing_however_late_it_comes() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let mut old = world.read(&stripe_id).await;
    old.copy.fields.name = Some("long ago".to_owned());
    let acked = world.link(row.id).await.acked_order.unwrap();
    for order in [acked, acked - 1, 0] {
        let read_at = Moment {
            order,
            ..old.read_at
        };
        let drift = Drift {
            read_at,
            copy: old.copy.clone(),
        };
        assert_eq!(world.apply(&drift).await, Applied::PutAside);
    }
    assert_eq!(world.row(row.id).await.rev, 1);
}

/// A process that dies between reading again and applying reads once more.
#[tokio::test]
async fn a_copy_put_aside_is_read_again_until_it_was_applied() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    let stale = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "2")]);
    world.apply(&stale).await;
    // Stripe fails the first look.
    world.fault("GET /v1/customers/{id}", Kind::ResetBeforeEffect);
    world.later(std::time::Duration::from_secs(1));
    let failed = sync_worker::downsync::recheck::run_once(&world.engine).await;
    assert!(failed.is_err());
    world.later(std::time::Duration::from_secs(5));
    world.recheck().await;
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("2"));
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn a_customer_that_cannot_be_read_again_holds_up_no_other() {
    let world = World::new().await;
    let mut rows = Vec::new();
    let synced = [
        world.synced(&[("email", "a@x.io")]).await,
        world.synced(&[("email", "b@x.io")]).await,
    ];
    for row in synced {
        let stripe_id = world.stripe_id(row.id).await;
        let stale = world.read(&stripe_id).await;
        world.update(row.id, &[("name", "B")]).await;
        world.push(row.id).await;
        world.stripe_edits(&stripe_id, &[("phone", "1")]);
        assert_eq!(world.apply(&stale).await, Applied::PutAside);
        rows.push((row.id, stripe_id));
    }
    let path = format!("GET /v1/customers/{}", rows[0].1);
    world.faults(&path, Kind::GarbledBody);
    world.later(std::time::Duration::from_secs(1));
    let failed = sync_worker::downsync::recheck::run_once(&world.engine).await;
    assert!(failed.is_err());
    assert_eq!(world.row(rows[1].0).await.phone.as_deref(), Some("1"));
    world.heal();
    world.later(std::time::Duration::from_secs(5));
    world.recheck().await;
    assert_eq!(world.row(rows[0].0).await.phone.as_deref(), Some("1"));
}

/// U4, D4: an earlier write of ours lands after a later one.
#[tokio::test]
async fn a_late_write_of_ours_is_pushed_over_and_takes_nothing() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    let late = stamp(&world.shown(&stripe_id), Field::Name).to_string();
    world.update(row.id, &[("name", "C")]).await;
    world.push(row.id).await;
    world.events().await;
    world.stripe_edits(
        &stripe_id,
        &[("name", "B"), ("metadata[customer_sync_rev_name]", &late)],
    );
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["name"], "C");
    assert_eq!(world.row(row.id).await.rev, 3);
    assert!(world.conflicts().await.is_empty());
    world.assert_in_step(row.id).await;
}

/// The first edit is pushed, and arrives in Stripe only after the push of the second.
async fn pushed_over_by(world: &World, id: Uuid, [late, later]: [&[(&str, &str)]; 2]) {
    world.fault(UPDATE, Kind::DeliveredLate);
    for edit in [late, later] {
        world.update(id, edit).await;
        world.push(id).await;
    }
    assert!(world.stripe.sandbox.deliver_late().await.is_some());
}

/// U4, D4: it lands under the stamp of a later push, of another field, and nobody has looked in between.
#[tokio::test]
async fn a_late_write_of_ours_is_pushed_over_though_another_field_was_pushed_since() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    pushed_over_by(&world, row.id, [&[("name", "B")], &[("name", "C")]]).await;
    assert_eq!(world.shown(&stripe_id)["name"], "B");
    world.update(row.id, &[("phone", "1")]).await;
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["name"], "C");
    assert_eq!(world.row(row.id).await.rev, 4);
    assert!(world.conflicts().await.is_empty());
    world.assert_in_step(row.id).await;
}

/// U4, D4: a person edits one of the fields that the late write has sent.
#[tokio::test]
async fn of_a_late_write_of_ours_only_what_a_person_edited_comes_home() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let late = [("name", "B"), ("phone", "2")];
    let later = [("name", "C"), ("phone", "3")];
    pushed_over_by(&world, row.id, [&late, &later]).await;
    world.stripe_edits(&stripe_id, &[("phone", "9")]);
    world.events().await;
    world.settle().await;
    let shown = world.shown(&stripe_id);
    assert_eq!(
        (&shown["name"], &shown["phone"]),
        (&"C".into(), &"9".into())
    );
    assert!(world.conflicts().await.is_empty());
    world.assert_in_step(row.id).await;
}

/// U4, D4: the first attempt lands when the second one, of the same rev, was acknowledged long since.
#[tokio::test]
async fn a_late_first_attempt_takes_back_no_edit_upon_the_second() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.fault(UPDATE, Kind::DeliveredLate);
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    // The key has had its time.
    world.later(Duration::from_secs(24 * 3600));
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "C")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
    assert!(world.stripe.sandbox.deliver_late().await.is_some());
    assert_eq!(world.shown(&stripe_id)["name"], "B");
    world.events().await;
    world.settle().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
    assert_eq!(world.shown(&stripe_id)["name"], "C");
    world.assert_in_step(row.id).await;
}

/// A person who goes back to what the field once was writes no stamp, and is heard though a late write's is there.
#[tokio::test]
async fn a_person_who_takes_back_an_edit_upon_a_late_write_is_heard() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    pushed_over_by(&world, row.id, [&[("name", "B")], &[("name", "C")]]).await;
    for name in ["D", "B", "D", "B"] {
        world.stripe_edits(&stripe_id, &[("name", name)]);
        world.events().await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some(name));
        world.assert_in_step(row.id).await;
    }
}

/// A person who goes back to what the field once was writes no stamp.
#[tokio::test]
async fn a_person_who_takes_back_our_edit_in_stripe_is_heard() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.events().await;
    for name in ["A", "B", "A"] {
        world.stripe_edits(&stripe_id, &[("name", name)]);
        world.events().await;
        assert_eq!(world.row(row.id).await.name.as_deref(), Some(name));
        world.assert_in_step(row.id).await;
    }
    assert_eq!(world.calls().len(), 1);
}

/// U4, D4: and a person edits what the late write has left, before anybody here has seen it.
#[tokio::test]
async fn an_edit_upon_a_late_write_of_ours_comes_home() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    let late = stamp(&world.shown(&stripe_id), Field::Name).to_string();
    world.update(row.id, &[("name", "C")]).await;
    world.push(row.id).await;
    world.events().await;
    world.stripe_edits(
        &stripe_id,
        &[("name", "B"), ("metadata[customer_sync_rev_name]", &late)],
    );
    world.stripe_edits(&stripe_id, &[("name", "D")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("D"));
    world.settle().await;
    assert_eq!(world.shown(&stripe_id)["name"], "D");
    world.assert_in_step(row.id).await;
}

/// A1: a deletion waits for its push, and Stripe's copy, as fresh as can be, shows an edit.
#[tokio::test]
async fn a_fresh_copy_neither_revives_a_tombstone_nor_stops_its_deletion() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let deleted = world.delete(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    let drift = world.read(&stripe_id).await;
    assert_eq!(world.apply(&drift).await, NOTHING);
    assert_eq!(world.row(row.id).await, deleted);
    world.pass().await;
    assert_eq!(world.row(row.id).await, deleted);
    world.push(row.id).await;
    world.settle().await;
    world.assert_gone(row.id).await;
    assert!(world.rows().await.is_empty());
}
