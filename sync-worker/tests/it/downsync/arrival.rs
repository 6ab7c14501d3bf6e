//! Lists and events as they really arrive: with odd times, too large, unreadable or redacted.

use entity::decide::Side;
use entity::unmatched::Reason;
use sea_orm::ActiveValue::Set;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::events::Polled;
use sync_worker::downsync::state;
use sync_worker::upsync::Pushed;

use crate::harness::World;

const LIST: &str = "GET /v1/customers";
const EVENTS: &str = "GET /v1/events";
const MIB: usize = 1024 * 1024;

async fn cursor(world: &World) -> i64 {
    let now = world.now().await;
    let state = state::load(&world.engine.db, now).await.unwrap();
    state.events_cursor.unwrap()
}

fn present(world: &World) -> i64 {
    world.stripe.sandbox.options().clock.now().timestamp()
}

#[tokio::test]
async fn event_of_any_time_moves_no_cursor_past_the_present() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let times = [4_000_000_000, i64::MAX, 0, -1, i64::MIN];
    for (place, created) in times.into_iter().enumerate() {
        world.later(std::time::Duration::from_secs(60));
        world.stripe_edits(&stripe_id, &[("name", &format!("odd {place}"))]);
        world.fault(EVENTS, Kind::EventDated { created });
        world.events().await;
        assert!(cursor(&world).await <= present(&world), "{created}");
        world.later(std::time::Duration::from_secs(60));
        let name = format!("next {place}");
        world.stripe_edits(&stripe_id, &[("name", &name)]);
        world.events().await;
        assert_eq!(world.row(row.id).await.name, Some(name), "{created}");
    }
}

#[tokio::test]
async fn newest_event_of_the_future_starts_the_cursor_at_the_present() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let now = world.now().await;
    state::store(&world.engine.db, now, |state| {
        state.events_cursor = Set(None);
    })
    .await
    .unwrap();
    let created = 4_000_000_000;
    world.fault(EVENTS, Kind::EventDated { created });
    assert_eq!(world.poll().await, Polled::NeedsPass);
    assert!(cursor(&world).await <= present(&world));
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
}

/// As an older version, or a person, may have left it.
#[tokio::test]
async fn cursor_ahead_of_stripe_is_started_over_by_a_pass() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let now = world.now().await;
    state::store(&world.engine.db, now, |state| {
        state.events_cursor = Set(Some(4_000_000_000));
    })
    .await
    .unwrap();
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    assert_eq!(world.poll().await, Polled::NeedsPass);
    assert!(cursor(&world).await <= present(&world));
    world.pass().await;
    world.later(std::time::Duration::from_secs(1));
    world.settle().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
}

/// A66
#[tokio::test]
async fn page_that_is_too_large_is_read_in_smaller_ones() {
    let world = World::new().await;
    for place in 0..10 {
        world.stripe_creates(&[("email", &format!("{place}@x.io"))]);
    }
    let large = Kind::LargeItems {
        bytes: MIB,
        id: None,
    };
    world.faults(LIST, large.clone());
    world.faults(EVENTS, large);
    assert_eq!(world.poll().await, Polled::New(10));
    let counts = world.pass().await;
    assert_eq!((counts.customers, counts.imported), (10, 10));
}

/// A66
#[tokio::test]
async fn customer_that_is_too_large_is_reported_and_holds_up_no_other() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for place in 0..5 {
        ids.push(world.stripe_creates(&[("email", &format!("{place}@x.io"))]));
    }
    let large = Kind::LargeItems {
        bytes: 9 * MIB,
        id: Some(ids[2].clone()),
    };
    world.faults(LIST, large);
    let counts = world.pass().await;
    assert_eq!(counts.customers, 5);
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched.len(), 1);
    assert_eq!(
        (unmatched[0].stripe_id.as_str(), unmatched[0].reason),
        (ids[2].as_str(), Reason::Unreadable)
    );
    assert_eq!(world.rows().await.len(), 4);
    world.heal();
    world.pass().await;
    assert_eq!(world.rows().await.len(), 5);
    assert!(world.unmatched().await.is_empty());
}

/// A35, A66
#[tokio::test]
async fn unreadable_customer_leaves_the_pass_complete_and_is_not_gone() {
    let world = World::new().await;
    let broken = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let edited = world.synced(&[("email", "b@x.io"), ("name", "B")]).await;
    let stranger = world.stripe_creates(&[("email", "c@x.io")]);
    world.pass().await;
    let stripe_id = world.stripe_id(broken.id).await;
    world.faults(
        "*",
        Kind::UnreadableCustomer {
            id: stripe_id.clone(),
        },
    );
    world.stripe_edits(&world.stripe_id(edited.id).await, &[("name", "Bea")]);
    world.later(std::time::Duration::from_secs(60));
    let counts = world.pass().await;
    assert_eq!((counts.customers, counts.deletions), (3, 0));
    assert_eq!(world.row(edited.id).await.name.as_deref(), Some("Bea"));
    let row = world.row(broken.id).await;
    assert_eq!((row.rev, row.is_deleted()), (broken.rev, false));
    let reason = world.parked(broken.id).await;
    assert_eq!(reason.as_deref(), Some("unreadable_in_stripe"));
    // Read again by itself, it is still what it is, and its events are done with.
    world.stripe_edits(&stripe_id, &[("name", "Ada")]);
    world.events().await;
    assert_eq!(world.row(broken.id).await.rev, broken.rev);
    assert!(
        world.unmatched().await.is_empty(),
        "{stranger} became a row"
    );

    world.heal();
    world.pass().await;
    assert_eq!(world.parked(broken.id).await, None);
    assert_eq!(world.row(broken.id).await.name.as_deref(), Some("Ada"));
}

/// It may be the one that an attempt of ours has made.
#[tokio::test]
async fn customer_that_cannot_be_read_is_not_created_a_second_time() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault("POST /v1/customers", Kind::ResetAfterEffect);
    world.push(row.id).await;
    let made = world.stripe.sandbox.customers().remove(0);
    let id = made["id"].as_str().unwrap().to_owned();
    world.faults("*", Kind::UnreadableCustomer { id });
    // Past the life of the key.
    world.later(std::time::Duration::from_secs(25 * 3600));
    world.due().await;
    world.retry().await;
    assert_eq!(world.in_stripe_count(), 1);
    world.heal();
    world.settle().await;
    world.assert_in_step(row.id).await;
    assert_eq!(world.in_stripe_count(), 1);
}

/// A66
#[tokio::test]
async fn redacted_values_are_no_edits_and_are_not_written_over() {
    let world = World::new().await;
    let row = world
        .synced(&[("email", "a@x.io"), ("name", "Ada"), ("phone", "5")])
        .await;
    let stripe_id = world.stripe_id(row.id).await;
    world.faults(
        "*",
        Kind::RedactedCustomer {
            id: stripe_id.clone(),
        },
    );
    world.stripe_edits(
        &stripe_id,
        &[("name", "[redacted]"), ("phone", "[redacted]")],
    );
    world.events().await;
    world.pass().await;
    assert_eq!(world.row(row.id).await.fields(), row.fields());
    assert_eq!(world.parked(row.id).await.as_deref(), Some("redacted"));

    world.forget_requests();
    world.update(row.id, &[("name", "Bea")]).await;
    assert_eq!(world.push(row.id).await, None);
    world.settle().await;
    assert!(world.calls().is_empty());

    // A person decides.
    world.heal();
    world.resolve_parked(row.id, Side::Database).await.unwrap();
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    world.settle().await;
    world.assert_in_step(row.id).await;
    assert_eq!(world.shown(&stripe_id)["name"], "Bea");
}

#[tokio::test]
async fn redacted_customer_can_be_deleted_here() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "Ada")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.faults(
        "*",
        Kind::RedactedCustomer {
            id: stripe_id.clone(),
        },
    );
    world.pass().await;
    assert_eq!(world.parked(row.id).await.as_deref(), Some("redacted"));
    world.delete(row.id).await;
    assert_eq!(world.push(row.id).await, Some(Pushed::Done));
    world.assert_gone(row.id).await;
}

#[tokio::test]
async fn redacted_customer_without_a_row_becomes_none() {
    let world = World::new().await;
    let id = world.stripe_creates(&[("email", "a@x.io"), ("name", "Ada")]);
    world.faults("*", Kind::RedactedCustomer { id: id.clone() });
    world.pass().await;
    assert!(world.rows().await.is_empty());
    let unmatched = world.unmatched().await;
    assert_eq!(unmatched[0].reason, Reason::Redacted);
}
