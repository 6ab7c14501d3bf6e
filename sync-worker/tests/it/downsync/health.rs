//! What the loops report while something cannot be read: "works again" only after it was read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use entity::downsync_state;
use platform::health::Health;
use platform::test_support::until;
use sea_orm::EntityTrait;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::scan::{self, Intervals, Scan};
use sync_worker::downsync::{apply::Applied, recheck};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::look::until_problem;
use crate::harness::{Setup, World};

const LIMIT: Duration = Duration::from_secs(60);

/// Since when there is a problem.
fn since(health: &Health) -> Option<Instant> {
    health
        .problems(Instant::now())
        .first()
        .map(|problem| problem.since)
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_events_are_reported_until_they_are_read() {
    for kind in [Kind::Forbidden, Kind::GatewayErrorBeforeEffect] {
        let world = World::with(Setup::in_real_time()).await;
        world.faults("GET /v1/events", kind);
        let health = Health::new();
        let scan = Scan {
            intervals: Intervals {
                events: Duration::from_millis(50),
                full_pass: Duration::from_millis(100),
            },
            health: health.component("scan", LIMIT),
            inbox_health: health.component("inbox", LIMIT),
            ..world.scan()
        };
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(scan::run(scan, stop.clone()));
        until_problem(&health).await;
        let reported = since(&health);
        let mut passes = BTreeSet::new();
        until("passes go on beside it", LIMIT, async || {
            assert_eq!(since(&health), reported, "the same problem all the time");
            let state = downsync_state::Entity::find().one(&world.engine.db).await;
            passes.extend(state.unwrap().and_then(|state| state.pass_completed_at));
            (passes.len() >= 5).then_some(())
        })
        .await;
        world.heal();
        until("events are read again", LIMIT, async || {
            since(&health).is_none().then_some(())
        })
        .await;
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customer_that_cannot_be_read_again_is_reported_until_it_is() {
    let mut world = World::new().await;
    let row = world.synced(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let stale = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.stripe_edits(&stripe_id, &[("phone", "1")]);
    assert_eq!(world.apply(&stale).await, Applied::PutAside);
    world.faults("GET /v1/customers/{id}", Kind::GarbledBody);
    world.later(Duration::from_secs(1));

    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    world.engine.db.set_metric_callback(move |query| {
        if query.statement.sql.contains("recheck_at") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let health = Health::new();
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let component = health.component("recheck", LIMIT);
    tasks.spawn(recheck::run(world.engine.clone(), component, stop.clone()));
    until_problem(&health).await;
    let reported = since(&health);
    let begun = looks.load(Ordering::SeqCst);
    // It is due again in five seconds, by a clock that stands still: these looks find nothing.
    until("some looks find nothing", LIMIT, async || {
        assert_eq!(since(&health), reported, "nothing was read");
        (looks.load(Ordering::SeqCst) >= begun + 6).then_some(())
    })
    .await;
    world.heal();
    world.later(Duration::from_secs(6));
    until("it is read", LIMIT, async || {
        since(&health).is_none().then_some(())
    })
    .await;
    assert_eq!(world.row(row.id).await.phone.as_deref(), Some("1"));
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}
