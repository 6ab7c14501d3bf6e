//! Edits in Stripe that no event has reported yet: an update never replaces one without a trace.

use entity::conflict::{self, State, Winner};
use entity::decide::Side;
use entity::stripe_event::{self, Source};
use entity::{customer, downsync_state};
use sea_orm::EntityTrait;
use sea_orm::sea_query::Expr;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::events;
use sync_worker::downsync::pace::Evidence;
use sync_worker::policy::Policy;
use sync_worker::stripe::{EventPage, Lane};
use uuid::Uuid;

use crate::harness::{Setup, World, each_world};

const UPDATE: &str = "POST /v1/customers/{id}";

/// A field's owner, and the value of the field in the end.
const OWNERS: [(&str, &str, Winner); 3] = [
    ("database", "ours", Winner::Database),
    ("stripe", "theirs", Winner::Stripe),
    ("manual", "ours", Winner::Open),
];

async fn owned_by(owner: &str) -> World {
    let policy = Policy {
        owners: owner.parse().unwrap(),
        ..Policy::default()
    };
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    World::with(setup).await
}

async fn named_base(world: &World) -> (customer::Model, String) {
    let row = world.synced(&[("email", "a@x.io"), ("name", "base")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    (row, stripe_id)
}

async fn name(world: &World, id: Uuid) -> String {
    world.row(id).await.name.unwrap()
}

/// The push of an edit, during whose request the name is edited in Stripe: between the read and the update.
async fn push_during_edit(world: &World, id: Uuid, theirs: &str) {
    let stripe_id = world.stripe_id(id).await;
    let edit = |world: &World| world.stripe_edits(&stripe_id, &[("name", theirs)]);
    world.push_after_read(id, edit).await;
}

/// Delivers the webhook of every event, each under another id if asked for.
async fn webhooks(world: &World, suffix: &str) {
    let page = EventPage::default();
    let events = world.engine.stripe.events(Lane::Downsync, &page).await;
    let mut events = events.unwrap().value.items;
    for event in &mut events {
        event.id.push_str(suffix);
    }
    let now = world.now().await;
    let received = stripe_event::receive(&world.engine.db, &events, Source::Webhook, now);
    received.await.unwrap();
}

/// A poll finds that webhooks had brought every event.
async fn prove_webhooks(world: &World) {
    // The second of the cursor was counted by the poll before.
    world.later(std::time::Duration::from_secs(2));
    world.stripe_creates(&[("email", &format!("{}@x.io", Uuid::new_v4()))]);
    webhooks(world, "").await;
    world.inbox().await;
    let poll = events::poll_with_evidence(&world.engine).await.unwrap();
    assert_eq!(poll.evidence, Evidence::Work);
    world.forget_requests();
}

fn kept(conflict: &conflict::Model) -> [Option<&str>; 3] {
    [
        &conflict.base,
        &conflict.database_value,
        &conflict.stripe_value,
    ]
    .map(Option::as_deref)
}

/// A11: two edits of one field within a moment, the one in Stripe first.
///
/// A63
#[tokio::test]
async fn unread_edit_is_read_before_it_would_be_replaced() {
    for (owner, value, winner) in OWNERS {
        let world = owned_by(owner).await;
        let (row, stripe_id) = named_base(&world).await;
        world.stripe_edits(&stripe_id, &[("name", "theirs")]);
        world.update(row.id, &[("name", "ours")]).await;
        world.push(row.id).await;
        assert_eq!(world.reads(), [format!("GET /v1/customers/{stripe_id}")]);
        let in_stripe = if winner == Winner::Open {
            "theirs"
        } else {
            value
        };
        assert_eq!(world.shown(&stripe_id)["name"], in_stripe, "{owner}");
        assert_eq!(name(&world, row.id).await, value, "{owner}");
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1, "{owner}");
        assert_eq!(
            kept(&conflicts[0]),
            [Some("base"), Some("ours"), Some("theirs")]
        );
        assert_eq!(conflicts[0].winner, winner);
        // The events report nothing more.
        world.settle().await;
        assert_eq!(world.conflicts().await, conflicts);
    }
}

/// A11: the edit falls between the read and the update.
///
/// A63
#[tokio::test]
async fn edit_replaced_during_the_request_is_kept_as_a_conflict() {
    for (owner, value, winner) in OWNERS {
        let world = owned_by(owner).await;
        let (row, stripe_id) = named_base(&world).await;
        world.update(row.id, &[("name", "ours")]).await;
        push_during_edit(&world, row.id, "theirs").await;
        assert!(world.conflicts().await.is_empty());
        world.settle().await;
        // What the field's owner restores is a change like any other.
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(name(&world, row.id).await, value, "{owner}");
        assert_eq!(world.shown(&stripe_id)["name"], value, "{owner}");
        world.assert_in_step(row.id).await;
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1, "{owner}");
        assert_eq!(
            kept(&conflicts[0]),
            [Some("base"), Some("ours"), Some("theirs")]
        );
        assert_eq!(conflicts[0].winner, winner);
        let is_open = conflicts[0].state() == State::Open;
        assert_eq!(is_open, winner == Winner::Open);
        // Neither the same events again, nor another event of the same update, nor a pass.
        let story = world.story(row.id).await;
        webhooks(&world, "_again").await;
        world.settle().await;
        world.pass().await;
        world.settle().await;
        assert_eq!(world.conflicts().await, conflicts);
        assert_eq!(world.story(row.id).await, story);
        let replaced = story.iter().filter(|step| *step == "drift edited replaced");
        assert_eq!(replaced.count(), 1);
    }
}

/// A11: a person decides after the fact.
///
/// A63
#[tokio::test]
async fn replaced_edit_is_restored_by_a_decision() {
    for (owner, side, value) in [
        ("manual", Side::Stripe, "theirs"),
        ("manual", Side::Database, "ours"),
        ("database", Side::Stripe, "theirs"),
    ] {
        let world = owned_by(owner).await;
        let (row, stripe_id) = named_base(&world).await;
        world.update(row.id, &[("name", "ours")]).await;
        push_during_edit(&world, row.id, "theirs").await;
        world.settle().await;
        let conflict = world.conflicts().await.remove(0);
        assert!(conflict.next_step().contains("side stripe"));
        // It holds no field back: an edit of it goes on.
        world.update(row.id, &[("phone", "1")]).await;
        world.push(row.id).await;
        world.settle().await;
        world.assert_in_step(row.id).await;
        world.resolve_conflict(&conflict, side).await.unwrap();
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(name(&world, row.id).await, value, "{owner}");
        assert_eq!(world.shown(&stripe_id)["name"], value);
        world.assert_in_step(row.id).await;
        let conflicts = world.conflicts().await;
        assert_eq!(
            (conflicts.len(), conflicts[0].state()),
            (1, State::Resolved)
        );
    }
}

/// What was made of the field since is newer than the edit that was replaced.
#[tokio::test]
async fn replaced_edit_undoes_nothing_newer() {
    for is_ours in [true, false] {
        let world = owned_by("stripe").await;
        let (row, stripe_id) = named_base(&world).await;
        world.update(row.id, &[("name", "ours")]).await;
        push_during_edit(&world, row.id, "theirs").await;
        if is_ours {
            world.update(row.id, &[("name", "newer")]).await;
        } else {
            world.stripe_edits(&stripe_id, &[("name", "newer")]);
            let drift = world.read(&stripe_id).await;
            world.apply(&drift).await;
        }
        world.settle().await;
        world.push(row.id).await;
        world.settle().await;
        assert_eq!(name(&world, row.id).await, "newer");
        world.assert_in_step(row.id).await;
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].stripe_value.as_deref(), Some("theirs"));
    }
}

/// The e-mail that was replaced belongs to another row by now.
#[tokio::test]
async fn replaced_email_that_is_taken_is_kept_and_not_restored() {
    let world = owned_by("stripe").await;
    let (row, stripe_id) = named_base(&world).await;
    world.update(row.id, &[("email", "ours@x.io")]).await;
    let edit = |world: &World| world.stripe_edits(&stripe_id, &[("email", "theirs@x.io")]);
    world.push_after_read(row.id, edit).await;
    let other = world.create(&[("email", "theirs@x.io")]).await;
    world.push(other.id).await;
    world.settle().await;
    assert_eq!(world.row(row.id).await.email, "ours@x.io");
    world.assert_in_step(row.id).await;
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts[0].stripe_value.as_deref(), Some("theirs@x.io"));
    assert_eq!(conflicts[0].winner, Winner::Database);
}

/// The answer of the update is lost as well; only its event reports what it replaced.
///
/// A63
#[tokio::test]
async fn edit_replaced_by_an_update_in_doubt_is_kept() {
    for kind in [Kind::ResetAfterEffect, Kind::DeliveredLate] {
        let world = owned_by("database").await;
        let (row, _) = named_base(&world).await;
        world.update(row.id, &[("name", "ours")]).await;
        world.fault(UPDATE, kind.clone());
        push_during_edit(&world, row.id, "theirs").await;
        world.stripe.sandbox.deliver_late().await;
        world.settle().await;
        assert_eq!(name(&world, row.id).await, "ours", "{kind:?}");
        world.assert_in_step(row.id).await;
        let conflicts = world.conflicts().await;
        assert_eq!(conflicts.len(), 1, "{kind:?}");
        assert_eq!(conflicts[0].stripe_value.as_deref(), Some("theirs"));
    }
}

/// An edit that restores what we had written before is an edit nevertheless.
#[tokio::test]
async fn replaced_edit_that_restored_an_old_value_is_kept() {
    let world = owned_by("database").await;
    let (row, stripe_id) = named_base(&world).await;
    world.update(row.id, &[("name", "old")]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "theirs")]);
    world.events().await;
    world.update(row.id, &[("name", "ours")]).await;
    push_during_edit(&world, row.id, "old").await;
    world.settle().await;
    let conflicts = world.conflicts().await;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(
        kept(&conflicts[0]),
        [Some("theirs"), Some("ours"), Some("old")]
    );
}

/// Two of our own writes that land in the other order are nobody's edit.
#[tokio::test]
async fn own_late_write_is_no_replaced_edit() {
    for is_replaced_unread in [false, true] {
        let world = owned_by("stripe").await;
        let (row, stripe_id) = named_base(&world).await;
        world.fault(UPDATE, Kind::DeliveredLate);
        for edit in ["B", "C"] {
            world.update(row.id, &[("name", edit)]).await;
            world.push(row.id).await;
        }
        assert!(world.stripe.sandbox.deliver_late().await.is_some());
        assert_eq!(world.shown(&stripe_id)["name"], "B");
        if is_replaced_unread {
            world.update(row.id, &[("name", "D")]).await;
            world.push_after_read(row.id, |_| {}).await;
        } else {
            world.update(row.id, &[("phone", "1")]).await;
        }
        world.settle().await;
        world.push(row.id).await;
        world.settle().await;
        let expected = if is_replaced_unread { "D" } else { "C" };
        assert_eq!(name(&world, row.id).await, expected);
        assert!(world.conflicts().await.is_empty());
        world.assert_in_step(row.id).await;
    }
}

/// A50: without webhooks, one read for each update and none for anything else.
#[tokio::test]
async fn update_costs_one_read_without_webhooks() {
    each_world(async |world| {
        let row = world.create(&[("email", "a@x.io")]).await;
        world.push(row.id).await;
        let stripe_id = world.stripe_id(row.id).await;
        let read = format!("GET /v1/customers/{stripe_id}");
        assert!(!world.reads().contains(&read), "a create needs none");
        for round in 1..4 {
            world.forget_requests();
            world.engine.stripe.take_reads();
            world.update(row.id, &[("name", &round.to_string())]).await;
            world.push(row.id).await;
            assert_eq!(world.reads(), std::slice::from_ref(&read));
            let counted = world.engine.stripe.take_reads();
            assert_eq!(counted, [(entity::stripe_read::Kind::Precheck, 1)]);
        }
        world.forget_requests();
        world.delete(row.id).await;
        world.push(row.id).await;
        assert!(!world.reads().contains(&read), "a delete keeps no value");
    })
    .await;
}

/// A50: webhooks that deliver cover the time of an edit.
#[tokio::test]
async fn update_costs_no_read_while_webhooks_deliver() {
    each_world(async |world| {
        let (row, stripe_id) = named_base(&world).await;
        prove_webhooks(&world).await;
        world.update(row.id, &[("name", "ours")]).await;
        world.push(row.id).await;
        assert!(world.reads().is_empty());
        webhooks(&world, "").await;
        world.inbox().await;
        // An event that has arrived and was not handled yet is no cover.
        world.stripe_edits(&stripe_id, &[("name", "theirs")]);
        webhooks(&world, "").await;
        world.update(row.id, &[("name", "ours too")]).await;
        world.forget_requests();
        world.push(row.id).await;
        assert_eq!(world.reads(), [format!("GET /v1/customers/{stripe_id}")]);
        assert_eq!(world.conflicts().await.len(), 1);
    })
    .await;
}

/// A proof from the time after now is that of a clock that was stepped back since.
#[tokio::test]
async fn proof_of_the_future_covers_nothing() {
    let world = owned_by("database").await;
    let (row, stripe_id) = named_base(&world).await;
    prove_webhooks(&world).await;
    let later = world.now().await + std::time::Duration::from_secs(600);
    downsync_state::Entity::update_many()
        .col_expr(downsync_state::Column::WebhooksProvenAt, Expr::value(later))
        .exec(&world.engine.db)
        .await
        .unwrap();
    world.update(row.id, &[("name", "ours")]).await;
    world.push(row.id).await;
    assert_eq!(world.reads(), [format!("GET /v1/customers/{stripe_id}")]);
}

#[tokio::test]
async fn webhooks_that_stop_cover_nothing() {
    for is_found_by_poll in [true, false] {
        let world = owned_by("database").await;
        let (row, stripe_id) = named_base(&world).await;
        prove_webhooks(&world).await;
        if is_found_by_poll {
            world.stripe_edits(&stripe_id, &[("phone", "1")]);
            world.later(std::time::Duration::from_secs(60));
            let poll = events::poll_with_evidence(&world.engine).await.unwrap();
            assert_eq!(poll.evidence, Evidence::Fail);
            world.inbox().await;
        } else {
            world.later(std::time::Duration::from_secs(15 * 60));
        }
        world.forget_requests();
        world.update(row.id, &[("name", "ours")]).await;
        world.push(row.id).await;
        assert_eq!(world.reads(), [format!("GET /v1/customers/{stripe_id}")]);
    }
}

/// The event of an update whose answer was lost may be on its way still.
#[tokio::test]
async fn update_upon_one_in_doubt_is_read_while_webhooks_deliver() {
    let world = owned_by("database").await;
    let (row, stripe_id) = named_base(&world).await;
    prove_webhooks(&world).await;
    world.update(row.id, &[("phone", "1")]).await;
    world.fault(UPDATE, Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "2")]);
    world.update(row.id, &[("name", "ours")]).await;
    world.push(row.id).await;
    assert_eq!(world.reads(), [format!("GET /v1/customers/{stripe_id}")]);
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("2"));
    world.settle().await;
    assert!(world.conflicts().await.is_empty());
    world.assert_in_step(row.id).await;
}
