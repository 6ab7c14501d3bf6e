//! What /metrics shows.

use std::collections::BTreeSet;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use stripe_sandbox::fault::{Kind, Reason};
use sync_worker::measure::{Measure, count_unsynced, describe};
use sync_worker::upsync::Pushed;
use sync_worker::upsync::begin::{Begun, begin};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::send;

use crate::harness::{World, each_world};

/// What is counted in this thread from now on, in which a test has all its tasks, is counted here alone.
fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// The value of a metric, by its name and labels as they are shown.
fn value(handle: &PrometheusHandle, name: &str) -> Option<f64> {
    let shown = handle.render();
    let line = shown
        .lines()
        .find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').next_back()?.parse().ok()
}

const SAVED: &str = "upsync_calls_saved_total";

#[tokio::test]
async fn ten_quick_edits_cost_one_call_and_the_metric_counts_the_others() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    for edit in 0..10 {
        world.update(row.id, &[("name", &edit.to_string())]).await;
    }
    // A message for each of them.
    for _ in 0..10 {
        world.push(row.id).await;
    }
    assert_eq!(world.calls().len(), 1);
    assert_eq!(value(&handle, SAVED), Some(9.0));
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn edits_during_a_push_cost_one_more_call() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    world.update(row.id, &[("name", "0")]).await;
    let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
        panic!("nothing was begun");
    };
    for edit in 1..10 {
        world.update(row.id, &[("name", &edit.to_string())]).await;
        assert_eq!(world.push(row.id).await, None);
    }
    let sent = send(&world.engine, &push).await.unwrap();
    let pushed = finish(&world.engine, &push, sent).await.unwrap();
    assert_eq!(pushed, Pushed::Again);
    world.push(row.id).await;
    assert_eq!(world.calls().len(), 2);
    assert_eq!(value(&handle, SAVED), Some(8.0));
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn edits_that_take_each_other_back_cost_no_call() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    world.update(row.id, &[("name", "B")]).await;
    world.update(row.id, &[("name", "A")]).await;
    world.push(row.id).await;
    assert!(world.calls().is_empty());
    assert_eq!(value(&handle, SAVED), Some(2.0));
}

#[tokio::test]
async fn what_waits_is_shown_and_not_any_more_when_it_is_gone() {
    each_world(async |world| {
        let (recorder, handle) = recorder();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let mut measure = Measure::default();
        let long = "x".repeat(300);
        let row = world.create(&[("email", "a@x.io"), ("name", &long)]).await;
        count_unsynced(&world.engine).await.unwrap();
        assert_eq!(value(&handle, "unsynced_customers"), Some(1.0));
        world.push(row.id).await;
        world.stripe_creates(&[("name", "nobody")]);
        world.poll().await;
        measure.run_once(&world.engine).await.unwrap();
        count_unsynced(&world.engine).await.unwrap();
        let parked = "parked_customers{reason=\"rejected\"}";
        assert_eq!(value(&handle, parked), Some(1.0));
        assert_eq!(value(&handle, "unsynced_customers"), Some(0.0));
        assert_eq!(value(&handle, "unsynced_oldest_age_seconds"), Some(0.0));
        assert_eq!(value(&handle, "inbox_backlog_events"), Some(1.0));
        assert_eq!(value(&handle, "conflicts_open"), Some(0.0));

        world.inbox().await;
        world.update(row.id, &[("name", "short")]).await;
        world.push(row.id).await;
        measure.run_once(&world.engine).await.unwrap();
        assert_eq!(value(&handle, parked), Some(0.0));
        assert_eq!(value(&handle, "inbox_backlog_events"), Some(0.0));
        let unmatched = "unmatched_customers{reason=\"no_email\"}";
        assert_eq!(value(&handle, unmatched), Some(1.0));
    })
    .await;
}

#[tokio::test]
async fn the_lane_and_the_rate_are_shown() {
    let world = World::new().await;
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut measure = Measure::default();
    let row = world.create(&[("email", "a@x.io")]).await;
    let reason = Reason::GlobalRate;
    world.fault("POST /v1/customers", Kind::RateLimited { reason });
    world.push(row.id).await;
    world.engine.lane.stop("the key is refused");
    measure.run_once(&world.engine).await.unwrap();
    let rate = value(&handle, "stripe_rate").unwrap();
    assert!((5_000.0..10_000.0).contains(&rate), "{rate}");
    let limited = "stripe_limited_total{reason=\"global-rate\"}";
    assert_eq!(value(&handle, limited), Some(1.0));
    let failures = "upsync_failures_total{action=\"slow_down\"}";
    assert_eq!(value(&handle, failures), Some(1.0));
    for (why, expected) in [("setting", 1.0), ("away", 0.0), ("refused", 0.0)] {
        let name = format!("upsync_lane_stopped{{why=\"{why}\"}}");
        assert_eq!(value(&handle, &name), Some(expected), "{why}");
    }
    let stops = "upsync_lane_stops_total{why=\"setting\"}";
    assert_eq!(value(&handle, stops), Some(1.0));
}

#[tokio::test]
async fn every_metric_says_what_it_is() {
    let world = World::new().await;
    let (recorder, handle) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    describe();
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "B")]);
    world.events().await;
    world.fault("POST /v1/customers", Kind::LockTimeout);
    let other = world.create(&[("email", "b@x.io")]).await;
    world.push(other.id).await;
    world.engine.lane.stop("the key is refused");
    sync_worker::registry::beat(&world.engine, &mut world.recorder())
        .await
        .unwrap();
    Measure::default().run_once(&world.engine).await.unwrap();
    count_unsynced(&world.engine).await.unwrap();
    let shown = handle.render();
    let of = |word: &str| -> BTreeSet<String> {
        let lines = shown.lines().filter_map(|line| line.strip_prefix(word));
        lines
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    let shown_names = of("# TYPE ");
    assert!(shown_names.len() > 10, "{shown_names:?}");
    assert_eq!(shown_names, of("# HELP "));
}
