//! The events of Stripe: a hint each, in any order and any number.

use std::time::Duration;

use entity::message::StripeCopy;
use entity::stripe_event::{self, Source};
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::events::Polled;
use sync_worker::upsync::begin::{Begun, begin};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::send;
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, World};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// As the webhook writes it.
pub(super) async fn deliver(
    world: &World,
    id: &str,
    kind: &str,
    stripe_id: &str,
    copy: Option<StripeCopy>,
) {
    let event = stripe_event::Event {
        id: id.to_owned(),
        kind: kind.to_owned(),
        stripe_id: stripe_id.to_owned(),
        created: 1,
        copy,
        replaced: None,
    };
    let now = world.now().await;
    let fresh = stripe_event::receive(&world.engine.db, &[event], Source::Webhook, now).await;
    assert_eq!(fresh.unwrap(), 1);
}

/// A47
#[tokio::test]
async fn a_thin_event_is_enough_to_bring_an_edit_and_a_deletion_home() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    deliver(&world, "evt_thin_1", "customer.updated", &stripe_id, None).await;
    assert_eq!(world.inbox().await.drifts, 1);
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    world.stripe_deletes(&stripe_id);
    deliver(&world, "evt_thin_2", "customer.deleted", &stripe_id, None).await;
    assert_eq!(world.inbox().await.drifts, 1);
    world.assert_gone(row.id).await;
}

/// A38, A40: the same second, the same events at every look.
#[tokio::test]
async fn events_are_told_apart_by_their_ids() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.faults("*", Kind::EventsInOneSecond);
    for name in ["1", "2", "3"] {
        world.stripe_edits(&stripe_id, &[("name", name)]);
        let worked = world.events().await;
        assert_eq!((worked.events, worked.reads, worked.drifts), (1, 1, 1));
        assert_eq!(world.row(row.id).await.name.as_deref(), Some(name));
        assert_eq!(world.events().await.events, 0);
    }
    assert_eq!(world.row(row.id).await.rev, 4);
}

#[tokio::test]
async fn many_events_of_one_customer_cost_one_read_and_one_write() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    for round in 0..20 {
        let name = format!("name {round}");
        world.stripe_edits(&stripe_id, &[("name", &name)]);
    }
    world.watch_writes().await;
    let worked = world.events().await;
    assert_eq!((worked.events, worked.reads, worked.drifts), (20, 1, 1));
    assert_eq!(
        world.writes().await,
        ["customer", "outbox", "stripe_link", "timeline", "timeline"]
    );
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("name 19"));
}

/// As many as one look takes: no statement has so many parameters in SQLite.
#[tokio::test]
async fn a_flood_of_events_fits_into_one_look() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    for round in 0..4_950 {
        let name = format!("name {round}");
        world.stripe_edits(&stripe_id, &[("name", &name)]);
    }
    assert_eq!(world.poll().await, Polled::New(4_950));
    assert_eq!(world.inbox().await.events, 4_950);
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("name 4949"));
    assert_eq!(world.poll().await, Polled::New(0));
}

/// A39, A42, A46: what an event shows is never applied.
#[tokio::test]
async fn an_old_event_says_only_where_to_look() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let mut old = world.read(&stripe_id).await.copy;
    old.fields.name = Some("a month ago".to_owned());
    old.fields.phone = None;
    deliver(&world, "evt_old", "customer.updated", &stripe_id, Some(old)).await;
    deliver(&world, "evt_thin", "customer.updated", &stripe_id, None).await;
    deliver(&world, "evt_del", "customer.deleted", &stripe_id, None).await;
    world.watch_writes().await;
    let worked = world.inbox().await;
    assert_eq!((worked.events, worked.reads, worked.drifts), (3, 1, 0));
    assert!(world.writes().await.is_empty());
    world.assert_in_step(row.id).await;
}

/// A41
#[tokio::test]
async fn an_event_of_nobody_we_or_stripe_know_does_nothing() {
    let world = World::new().await;
    deliver(&world, "evt_1", "customer.updated", "cus_unknown", None).await;
    world.watch_writes().await;
    let worked = world.inbox().await;
    assert_eq!((worked.events, worked.drifts), (1, 0));
    assert!(world.writes().await.is_empty());
    assert_eq!(world.inbox().await.events, 0);
}

/// A43: Stripe forgets its events after 30 days.
#[tokio::test]
async fn a_cursor_that_is_too_old_asks_for_a_full_pass() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.later(DAY * 31);
    world.stripe_creates(&[("email", "b@x.io")]);
    assert_eq!(world.poll().await, Polled::NeedsPass);
    world.pass().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    assert_eq!(world.rows().await.len(), 2);
    // And from there on the events do again.
    world.stripe_edits(&stripe_id, &[("name", "C")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("C"));
}

/// A43: where nothing has happened for so long, nothing was missed.
#[tokio::test]
async fn a_quiet_month_asks_for_no_pass_after_pass() {
    let world = World::new().await;
    world.synced(&[("email", "a@x.io")]).await;
    let mut passes = 0;
    for _ in 0..40 {
        world.later(DAY);
        for _ in 0..3 {
            passes += u32::from(world.poll().await == Polled::NeedsPass);
        }
    }
    assert!(passes <= 1, "{passes} full passes");
    // Something happens again.
    world.stripe_creates(&[("email", "b@x.io")]);
    world.events().await;
    assert_eq!(world.rows().await.len(), 2);
}

/// A48: the event of our own create is faster than its answer.
#[tokio::test]
async fn our_own_create_told_by_an_event_before_its_answer_links_and_makes_no_second_row() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
    let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
        panic!("the push begins");
    };
    let sent = send(&world.engine, &push).await.unwrap();
    world.events().await;
    world.pass().await;
    assert_eq!(world.rows().await.len(), 1);
    assert!(world.unmatched().await.is_empty());
    finish(&world.engine, &push, sent).await.unwrap();
    world.settle().await;
    assert_eq!(world.rows().await.len(), 1);
    assert_eq!(world.in_stripe_count(), 1);
    assert!(world.unmatched().await.is_empty());
    world.assert_in_step(row.id).await;
}

/// One customer that cannot be read holds up neither the others nor the full pass.
#[tokio::test]
async fn a_customer_that_stripe_cannot_show_holds_up_no_other() {
    let world = World::new().await;
    let poison = world.synced(&[("email", "a@x.io")]).await;
    let other = world.synced(&[("email", "b@x.io")]).await;
    let path = format!("GET /v1/customers/{}", world.stripe_id(poison.id).await);
    world.faults(&path, Kind::GarbledBody);
    for row in [&poison, &other] {
        world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "B")]);
    }
    world.poll().await;
    let mut drifts = world.drifts.lock().await;
    for _ in 0..2 {
        let failed = sync_worker::downsync::inbox::run_once(&world.engine, &mut drifts).await;
        assert!(failed.is_err());
    }
    drop(drifts);
    world.assert_in_step(other.id).await;
    assert_eq!(world.row(other.id).await.name.as_deref(), Some("B"));
    world.heal();
    // Its event is still there.
    world.inbox().await;
    assert_eq!(world.row(poison.id).await.name.as_deref(), Some("B"));
}

#[tokio::test]
async fn the_full_pass_runs_while_the_events_fail() {
    let world = World::new().await;
    let mut scanner = world.scanner();
    scanner.look_once(&CancellationToken::new()).await.unwrap();
    world.stripe_creates(&[("email", "a@x.io")]);
    world.faults("GET /v1/events", Kind::GatewayErrorBeforeEffect);
    let mut scanner = world.scanner();
    scanner
        .look_once(&CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(world.rows().await.len(), 1);
}

/// A52: times of Stripe's are never compared with ours.
#[tokio::test]
async fn stripes_clock_may_be_hours_off() {
    for off in [-7_200, 7_200] {
        let mut setup = Setup::default();
        let start = setup.sandbox.clock.now() + chrono::TimeDelta::seconds(off);
        setup.sandbox.clock = stripe_sandbox::Clock::manual(start);
        let world = World::with(setup).await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        for round in 1..4 {
            let name = format!("theirs {round}");
            world.stripe_edits(&stripe_id, &[("name", &name)]);
            world.events().await;
            assert_eq!(world.row(row.id).await.name, Some(name), "{off}");
            world.update(row.id, &[("phone", &round.to_string())]).await;
            world.push(row.id).await;
            world.later(Duration::from_secs(40));
        }
        world.settle().await;
        world.assert_in_step(row.id).await;
        assert_eq!(world.calls().len(), 3);
        world.stripe_deletes(&stripe_id);
        world.pass().await;
        world.assert_gone(row.id).await;
    }
}

/// A49
#[tokio::test]
async fn what_no_event_told_is_found_by_the_pass() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "B")]);
    world.stripe_creates(&[("email", "b@x.io")]);
    world.pass().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
    assert_eq!(world.rows().await.len(), 2);
    // Their events come late, and tell nothing new.
    world.watch_writes().await;
    let worked = world.events().await;
    assert_eq!(worked.drifts, 0);
    assert!(world.writes().await.is_empty());
}

/// More new events than one poll reads: none of them is stored, and the pass applies what they report. They came within
/// the overlap of two polls, and ask for no second pass.
#[tokio::test]
async fn too_many_events_ask_for_a_full_pass() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    for round in 0..5_150 {
        if round % 200 == 0 {
            world.later(Duration::from_secs(1));
        }
        let name = format!("name {round}");
        world.stripe_edits(&stripe_id, &[("name", &name)]);
    }
    world.stripe_creates(&[("email", "b@x.io")]);
    assert_eq!(world.poll().await, Polled::NeedsPass);
    assert_eq!(world.inbox().await.events, 0);
    world.pass().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("name 5149"));
    assert_eq!(world.rows().await.len(), 2);
    for _ in 0..2 {
        assert!(matches!(world.poll().await, Polled::New(_)));
        world.inbox().await;
    }
    assert_eq!(world.poll().await, Polled::New(0));
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.events().await;
    assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
}
