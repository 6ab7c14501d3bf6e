//! A response that belongs to another request: its outcome is unknown, and nothing of it is stored.

use platform::test_support::sqlite;
use stripe_sandbox::fault::{Kind, Shows};
use sync_worker::policy::{OnDelete, Policy};
use sync_worker::upsync::Pushed;

use crate::harness::{Setup, World};

const CREATE: &str = "POST /v1/customers";
const UPDATE: &str = "POST /v1/customers/{id}";
const DELETE: &str = "DELETE /v1/customers/{id}";
const LIST: &str = "GET /v1/customers";
const RETRIEVE: &str = "GET /v1/customers/{id}";

const SHOWN: [Shows; 3] = [Shows::OtherObject, Shows::OtherMode, Shows::Nothing];

fn mismatched(shows: Shows) -> Kind {
    Kind::MismatchedResponse { shows }
}

/// A65
#[tokio::test]
async fn mismatched_create_links_nothing_and_is_sent_again() {
    for shows in SHOWN {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        world.fault(CREATE, mismatched(shows));
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{shows:?}");
        let link = world.link(row.id).await;
        assert_eq!((link.stripe_id, link.synced_rev), (None, 0), "{shows:?}");
        world.settle().await;
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe_count(), 1, "{shows:?}");
        world.assert_keys_stand_for_one_body();
    }
}

/// A65
#[tokio::test]
async fn mismatched_update_is_not_acknowledged() {
    for shows in SHOWN {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let row = world.update(row.id, &[("name", "B")]).await;
        world.fault(UPDATE, mismatched(shows));
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{shows:?}");
        assert!(world.link(row.id).await.synced_rev < row.rev, "{shows:?}");
        world.settle().await;
        world.assert_in_step(row.id).await;
        world.assert_keys_stand_for_one_body();
    }
}

/// A65
#[tokio::test]
async fn mismatched_delete_is_confirmed_before_it_counts() {
    for shows in SHOWN {
        for on_database_delete in [OnDelete::Delete, OnDelete::Detach] {
            let policy = Policy {
                on_database_delete,
                ..Policy::default()
            };
            let setup = Setup {
                policy,
                ..Setup::default()
            };
            let world = World::on(sqlite().await, setup).await;
            let row = world.synced(&[("email", "a@x.io")]).await;
            let row = world.delete(row.id).await;
            world.fault(DELETE, mismatched(shows));
            world.fault(UPDATE, mismatched(shows));
            assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{shows:?}");
            assert!(world.link(row.id).await.synced_rev < row.rev, "{shows:?}");
            world.settle().await;
            assert_eq!(world.link(row.id).await.synced_rev, row.rev, "{shows:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_after_a_look_that_does_not_match() {
    for shows in SHOWN {
        let world = World::new().await;
        world.stripe_creates(&[("email", "a@x.io")]);
        let row = world.create(&[("email", "a@x.io")]).await;
        world.fault(LIST, mismatched(shows));
        assert_eq!(world.push(row.id).await, Some(Pushed::Later), "{shows:?}");
        assert!(world.calls().is_empty(), "{shows:?}");
        world.settle().await;
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe_count(), 1, "{shows:?}");

        world.update(row.id, &[("name", "B")]).await;
        world.later(std::time::Duration::from_secs(60));
        world.forget_requests();
        world.fault(RETRIEVE, mismatched(shows));
        world.push(row.id).await;
        assert!(world.calls().is_empty(), "{shows:?}");
        world.settle().await;
        world.assert_in_step(row.id).await;
    }
}

/// Under its key the answer would be the same for a day.
#[tokio::test]
async fn mismatched_replay_is_looked_up_and_takes_a_new_key() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    world.faults(UPDATE, mismatched(Shows::OtherObject));
    assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    let key = world.link(row.id).await.request_key;
    assert!(key.is_some());
    world.retry().await;
    assert_eq!(world.link(row.id).await.request_key, None);
    world.heal();
    world.settle().await;
    world.assert_in_step(row.id).await;
}

/// A65
#[tokio::test]
async fn mismatched_reads_change_no_row() {
    for shows in SHOWN {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        world.pass().await;
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("name", "Ada")]);
        world.fault("GET /v1/events", mismatched(shows));
        sync_worker::downsync::events::poll(&world.engine)
            .await
            .unwrap_err();
        world.fault(LIST, mismatched(shows));
        world.try_pass().await.unwrap_err();
        assert_eq!(world.row(row.id).await.rev, row.rev, "{shows:?}");
        world.settle().await;
        assert_eq!(
            world.row(row.id).await.name.as_deref(),
            Some("Ada"),
            "{shows:?}"
        );
        world.pass().await;
        assert_eq!(world.rows().await.len(), 1, "{shows:?}");
    }
}

#[tokio::test]
async fn mismatched_responses_to_many_open_the_breaker() {
    let world = World::new().await;
    let mut rows = Vec::new();
    for place in 0..6 {
        rows.push(world.create(&[("email", &format!("{place}@x.io"))]).await);
    }
    world.faults(CREATE, mismatched(Shows::OtherObject));
    for row in &rows[..5] {
        assert_eq!(world.push(row.id).await, Some(Pushed::Later));
    }
    let reason = world.engine.lane.stopped().unwrap();
    assert!(reason.contains("do not match"), "{reason}");
    world.heal();
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    tokio::time::resume();
    world.settle().await;
    world.push(rows[5].id).await;
    assert_eq!(world.engine.lane.stopped(), None);
    assert_eq!(world.in_stripe_count(), 6);
}
