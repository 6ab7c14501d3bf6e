//! Items that end the process whenever they are handled. Here a future that is dropped, or a push that is begun
//! and not finished, stands for the process that died.

use std::time::{Duration, Instant};

use entity::in_hand;
use entity::message::{DOWNSYNC, DRIFT, EXCHANGE, QUEUES, SOURCE};
use platform::broker::{Broker, Message, Outcome, Topology};
use platform::health::Health;
use sea_orm::EntityTrait;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::{consume, inbox};
use sync_worker::poison::MOST;
use sync_worker::upsync::Pushed;
use sync_worker::upsync::begin::{Begun, begin};
use sync_worker::upsync::due::forget_dead_pushes;
use sync_worker::upsync::plan::Plan;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::look::assert_at_rest;
use crate::harness::{World, each_world};

/// Past the life of a push that does not end.
const EXPIRED: Duration = Duration::from_secs(61);

/// A worker was killed a while ago.
async fn somebody_died(world: &World) {
    let long_ago = world.now().await - Duration::from_secs(60);
    world.worker_beats_at(long_ago).await;
}

async fn in_hand_count(world: &World) -> usize {
    let found = in_hand::Entity::find().all(&world.engine.db).await;
    found.unwrap().len()
}

/// A push of this customer begins, and the process dies.
async fn die_pushing(world: &World, id: Uuid, at_start: bool) {
    assert!(matches!(
        begin(&world.engine, id).await.unwrap(),
        Begun::Push(_)
    ));
    if at_start {
        forget_dead_pushes(&world.engine).await.unwrap();
    } else {
        world.later(EXPIRED);
    }
}

/// A57
#[tokio::test]
async fn a_push_that_ends_the_process_each_time_is_parked_and_holds_up_nobody() {
    for at_start in [false, true] {
        let world = World::new().await;
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let other = world.create(&[("email", "b@x.io")]).await;
        world.update(row.id, &[("name", "B")]).await;
        for _ in 0..MOST {
            die_pushing(&world, row.id, at_start).await;
        }
        world.push(other.id).await;
        world.assert_in_step(other.id).await;

        world.forget_requests();
        assert_eq!(world.due().await, 1);
        assert!(world.calls().is_empty() && world.reads().is_empty());
        assert_eq!(world.parked(row.id).await.as_deref(), Some("unfinished"));
        let again = begin(&world.engine, row.id).await.unwrap();
        assert!(matches!(again, Begun::Nothing(Plan::Parked)));
        assert_eq!(world.retry().await, 0);

        world.update(row.id, &[("name", "C")]).await;
        assert_eq!(world.push(row.id).await, Some(Pushed::Done));
        assert_eq!(world.link(row.id).await.takeovers, 0);
        world.assert_in_step(row.id).await;
    }
}

#[tokio::test]
async fn a_known_outcome_starts_the_count_anew() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.update(row.id, &[("name", "B")]).await;
    let path = format!("POST /v1/customers/{}", world.stripe_id(row.id).await);
    for _ in 0..3 {
        for _ in 1..MOST {
            die_pushing(&world, row.id, false).await;
        }
        assert_eq!(world.link(row.id).await.takeovers, MOST - 2);
        // Failing is an outcome, too.
        world.fault(&path, Kind::GatewayErrorBeforeEffect);
        assert_eq!(world.push(row.id).await, Some(Pushed::Later));
        assert_eq!(world.link(row.id).await.takeovers, 0);
    }
    world.settle().await;
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn customers_whose_push_died_go_last_and_one_by_one() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for place in 0..3 {
        let email = format!("{place}@x.io");
        let row = world.synced(&[("email", &email), ("name", "A")]).await;
        world.update(row.id, &[("name", "B")]).await;
        ids.push(row.id);
    }
    die_pushing(&world, ids[0], true).await;
    die_pushing(&world, ids[1], true).await;
    let delay = Duration::from_millis(50);
    let slow = Kind::LatencyBeforeEffect { delay };
    world.faults("POST /v1/customers/*", slow);
    // The third fails once and is due after the two.
    let last = format!("POST /v1/customers/{}", world.stripe_id(ids[2]).await);
    world.fault(&last, Kind::GatewayErrorBeforeEffect);
    world.push(ids[2]).await;
    world.later(Duration::from_secs(31));
    world.forget_requests();
    world.due().await;
    assert_eq!(world.calls().first(), Some(&last));
    for id in ids {
        world.assert_in_step(id).await;
    }
}

/// A56, A57
#[tokio::test]
async fn an_event_that_ends_the_process_each_time_is_given_up_and_the_others_go_on() {
    let world = World::new().await;
    let bad = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let good = world.synced(&[("email", "b@x.io"), ("name", "A")]).await;
    let bad_id = world.stripe_id(bad.id).await;
    world.stripe_edits(&bad_id, &[("name", "B")]);
    world.stripe_edits(&world.stripe_id(good.id).await, &[("name", "B")]);
    world.poll().await;
    somebody_died(&world).await;
    let delay = Duration::from_secs(60);
    let path = format!("GET /v1/customers/{bad_id}");
    world.faults(&path, Kind::LatencyBeforeEffect { delay });
    world.forget_requests();
    for died in 1..=MOST {
        let mut drifts = world.drifts.lock().await;
        let reads = async || world.reads().iter().filter(|read| **read == path).count() as i32;
        tokio::select! {
            worked = inbox::run_once(&world.engine, &mut drifts) => panic!("it lives: {worked:?}"),
            () = platform::test_support::until("it is read", Duration::from_secs(20), async || {
                (reads().await == died).then_some(())
            }) => {}
        }
    }
    let worked = world.inbox().await;
    assert!(worked.events >= 1);
    assert_eq!(world.row(good.id).await.name.as_deref(), Some("B"));
    assert_eq!(world.row(bad.id).await.name.as_deref(), Some("A"));
    assert_eq!(world.inbox().await.events, 0);
    // The good one may have been in hand with the bad one, and done, at the first death.
    world.stripe_edits(&world.stripe_id(good.id).await, &[("name", "C")]);
    world.events().await;
    assert_eq!(world.row(good.id).await.name.as_deref(), Some("C"));
    assert_eq!(in_hand_count(&world).await, 1, "only the bad one");
}

/// A worker that was killed makes the others careful, and not slow.
#[tokio::test]
async fn events_are_read_side_by_side_after_a_death() {
    const CUSTOMERS: usize = 16;
    let world = World::new().await;
    world.import(CUSTOMERS).await;
    let delay = Duration::from_millis(500);
    for row in world.rows().await {
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("name", "B")]);
        let path = format!("GET /v1/customers/{stripe_id}");
        world.faults(&path, Kind::LatencyBeforeEffect { delay });
    }
    world.poll().await;
    somebody_died(&world).await;
    let begun = Instant::now();
    assert_eq!(world.inbox().await.reads, CUSTOMERS);
    assert!(begun.elapsed() < delay * (CUSTOMERS as u32) / 2);
    assert_eq!(in_hand_count(&world).await, 0);
}

fn broker() -> Broker {
    Broker::in_process(&Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    })
}

async fn publish(world: &World, broker: &Broker, stripe_id: &str) -> Message {
    let drift = world.read(stripe_id).await;
    let message = Message {
        id: stripe_id.to_owned(),
        kind: DRIFT.to_owned(),
        source: SOURCE.to_owned(),
        subject: stripe_id.to_owned(),
        schema: None,
        time: drift.read_at.at,
        traceparent: None,
        body: serde_json::to_vec(&drift).unwrap().into(),
    };
    let mut publisher = broker.publisher().await.unwrap();
    let outcomes = publisher.publish(DOWNSYNC, vec![message.clone()]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
    message
}

#[tokio::test]
async fn a_drift_that_ends_the_process_each_time_is_a_dead_letter_and_the_others_go_on() {
    let world = World::new().await;
    let bad = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let good = world.synced(&[("email", "b@x.io"), ("name", "A")]).await;
    let bad_id = world.stripe_id(bad.id).await;
    let good_id = world.stripe_id(good.id).await;
    world.stripe_edits(&bad_id, &[("name", "B")]);
    world.stripe_edits(&good_id, &[("name", "B")]);
    somebody_died(&world).await;
    for _ in 0..MOST {
        let now = world.now().await;
        let item = ("drift", bad_id.as_str());
        in_hand::begin(&world.engine.db, item, now).await.unwrap();
    }
    let broker = broker();
    let mut worker = JoinSet::new();
    worker.spawn(consume::run(
        world.engine.clone(),
        broker.clone(),
        Health::new().component(DOWNSYNC, Duration::from_secs(60)),
        CancellationToken::new(),
    ));
    let message = publish(&world, &broker, &bad_id).await;
    publish(&world, &broker, &good_id).await;
    let Broker::InProcess(broker) = &broker else {
        panic!("the broker of the tests is in process");
    };
    assert_eq!(broker.dead_letters(DOWNSYNC), [message]);
    assert_eq!(world.row(good.id).await.name.as_deref(), Some("B"));
    assert_eq!(world.row(bad.id).await.name.as_deref(), Some("A"));
    assert_eq!(in_hand_count(&world).await, 1);
}

#[tokio::test]
async fn a_recheck_that_ends_the_process_each_time_is_given_up() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let stale = world.read(&stripe_id).await;
    world.update(row.id, &[("name", "B")]).await;
    world.push(row.id).await;
    world.apply(&stale).await;
    assert!(world.link(row.id).await.recheck_at.is_some());
    somebody_died(&world).await;
    for _ in 0..MOST {
        let now = world.now().await;
        let item = ("recheck", stripe_id.as_str());
        in_hand::begin(&world.engine.db, item, now).await.unwrap();
    }
    world.forget_requests();
    assert_eq!(world.recheck().await, 1);
    assert!(world.reads().is_empty());
    assert_at_rest(&world.link(row.id).await);
}

/// While nobody has died nothing is written down, and afterwards nothing is left behind.
#[tokio::test]
async fn what_is_handled_to_its_end_is_struck_out() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        for name in ["B", "C"] {
            world.stripe_edits(&stripe_id, &[("name", name)]);
            world.events().await;
            assert_eq!(in_hand_count(&world).await, 0);
            assert_eq!(world.row(row.id).await.name.as_deref(), Some(name));
            somebody_died(&world).await;
        }
    })
    .await;
}
