//! A panic in one item is that item's failure: the task and the others go on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use platform::steps::{Place, Script, Steps};
use sync_worker::downsync::inbox;
use sync_worker::engine::Engine;
use sync_worker::upsync::due;

use crate::harness::World;

/// Panics at a place, so often.
struct PanicAt(&'static str, AtomicUsize);

impl Script for PanicAt {
    fn reach(&self, place: Place) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let left = || {
            let less = |left: usize| left.checked_sub(1);
            self.1
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        };
        let panics = place.name == self.0 && left().is_ok();
        Box::pin(async move {
            assert!(!panics, "a test panics");
        })
    }
}

fn engine(world: &World, place: &'static str, times: usize) -> Engine {
    Engine {
        steps: Steps::scripted(Arc::new(PanicAt(place, AtomicUsize::new(times)))),
        ..world.engine.clone()
    }
}

#[tokio::test]
async fn panic_in_a_read_leaves_the_other_events_done() {
    let world = World::new().await;
    let a = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let b = world.synced(&[("email", "b@x.io"), ("name", "B")]).await;
    for row in [&a, &b] {
        world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "edited")]);
    }
    world.poll().await;
    let engine = engine(&world, "read: begin", 1);
    let mut drifts = world.drifts.lock().await;
    let error = inbox::run_once(&engine, &mut drifts).await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error:#}");
    drop(drifts);
    let mut names = Vec::new();
    for row in [&a, &b] {
        names.push(world.row(row.id).await.name.unwrap());
    }
    assert_eq!(names.iter().filter(|name| *name == "edited").count(), 1);
    world.inbox().await;
    for row in [&a, &b] {
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("edited"));
    }
}

#[tokio::test]
async fn panic_in_a_push_is_a_push_that_died() {
    let world = World::new().await;
    let mut rows = Vec::new();
    for place in 0..3 {
        let row = world.create(&[("email", &format!("{place}@x.io"))]).await;
        // As after a failure: it is due.
        world.fault(
            "POST /v1/customers",
            stripe_sandbox::fault::Kind::ResetBeforeEffect,
        );
        world.push(row.id).await;
        rows.push(row);
    }
    world.later(Duration::from_secs(31));
    let engine = engine(&world, "push: begun", 1);
    assert_eq!(due::run_once(&engine).await.unwrap(), 3);
    assert_eq!(world.in_stripe_count(), 2);
    world.later(Duration::from_secs(61));
    world.settle().await;
    for row in rows {
        world.assert_in_step(row.id).await;
    }
}
