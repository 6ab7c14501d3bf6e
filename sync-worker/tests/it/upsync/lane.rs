//! A Stripe that takes nothing for now: from anybody, from one customer, or because nobody asked it.

use std::time::Duration;

use entity::message::{Changed, Origin, SOURCE, UPSYNC};
use platform::broker::{Message, Outcome};
use platform::health::Health;
use sea_orm::EntityTrait;
use stripe_sandbox::fault::{Kind, Reason};
use sync_worker::upsync::{self, Pushed, consume};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::look::until_problem;
use crate::harness::{World, client};

/// Lets the lane's rest pass without waiting for it.
async fn rest() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
}

/// A54
#[tokio::test]
async fn a_key_that_is_refused_stops_the_lane_and_parks_nothing() {
    for kind in [Kind::Unauthorized, Kind::Forbidden] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        world.faults("*", kind);
        assert_eq!(world.push(row.id).await, Some(Pushed::Later));
        assert!(world.engine.lane.stopped().is_some());
        let link = world.link(row.id).await;
        assert_eq!((link.attempts, link.parked_reason), (0, None));

        // The key is tried no more often than the lane rests, and while it fails nothing is pushed.
        world.forget_requests();
        assert_eq!(world.retry().await, 0);
        assert!(world.reads().is_empty());
        rest().await;
        assert_eq!(world.retry().await, 0);
        assert!((1..=2).contains(&world.reads().len()));
        assert!(world.engine.lane.stopped().is_some());

        world.heal();
        rest().await;
        assert_eq!(world.retry().await, 1);
        assert_eq!(world.engine.lane.stopped(), None);
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe_count(), 1);
    }
}

/// A7, A60: with another account's key nothing is sent.
#[tokio::test]
async fn nothing_is_pushed_before_stripe_has_said_that_the_key_is_the_databases() {
    let world = World::new().await;
    let known = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    world.pass().await;
    world.forget_requests();
    world.engine.lane.hold();
    world.faults("*", Kind::OtherAccount);
    world.update(known.id, &[("name", "B")]).await;
    for _ in 0..3 {
        assert_eq!(world.retry().await, 0);
        rest().await;
    }
    let reason = world.engine.lane.stopped().unwrap();
    assert!(reason.contains("but this database belongs to"), "{reason}");
    assert!(world.calls().is_empty());
    world.heal();
    world.retry().await;
    assert_eq!(world.engine.lane.stopped(), None);
    world.push(known.id).await;
    world.assert_in_step(known.id).await;
}

/// A54: the key goes bad while a create is on its way, which then arrives after the next attempt.
#[tokio::test]
async fn a_create_that_arrives_late_is_the_one_that_was_sent_again_after_a_key_was_refused() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault("POST /v1/customers", Kind::DeliveredLate);
    world.push(row.id).await;
    world.fault("POST /v1/customers", Kind::Unauthorized);
    world.retry().await;
    rest().await;
    world.retry().await;
    assert_eq!(world.in_stripe_count(), 1);
    assert!(world.stripe.sandbox.deliver_late().await.is_some());
    assert_eq!(world.in_stripe_count(), 1);
    world.settle().await;
    world.assert_in_step(row.id).await;
}

/// A54: the key goes bad between a lost answer and the next attempt.
#[tokio::test]
async fn a_create_in_doubt_survives_a_key_that_is_refused() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault("POST /v1/customers", Kind::ResetAfterEffect);
    world.push(row.id).await;
    world.faults("*", Kind::Unauthorized);
    world.retry().await;
    world.heal();
    rest().await;
    world.retry().await;
    assert_eq!(world.in_stripe_count(), 1);
    world.settle().await;
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn messages_wait_while_the_lane_is_stopped_and_flow_when_it_goes_on() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.engine.lane.stop("the key is refused");
    let health = Health::new();
    let stop = CancellationToken::new();
    let mut worker = JoinSet::new();
    worker.spawn(consume::run(
        world.engine.clone(),
        world.broker.clone(),
        health.component("upsync", Duration::from_secs(60)),
        stop.clone(),
    ));
    let mut publisher = world.broker.publisher().await.unwrap();
    let publish = publisher.publish(UPSYNC, vec![message(&world, row.id).await]);
    let resume = async {
        tokio::task::yield_now().await;
        assert!(world.calls().is_empty());
        world.engine.lane.resume();
    };
    let (outcomes, ()) = tokio::join!(publish, resume);
    assert_eq!(outcomes, [Outcome::Confirmed]);
    world.assert_in_step(row.id).await;
    stop.cancel();
    worker.join_next().await.unwrap().unwrap().unwrap();
}

async fn message(world: &World, id: Uuid) -> Message {
    let row = world.row(id).await;
    Message {
        id: row.rev.to_string(),
        kind: "customer.created".to_owned(),
        source: SOURCE.to_owned(),
        subject: id.to_string(),
        schema: None,
        time: row.updated_at,
        traceparent: None,
        body: Changed::of(&row, Origin::Application)
            .to_json()
            .to_string()
            .into_bytes()
            .into(),
    }
}

#[tokio::test]
async fn a_message_that_is_not_ours_is_a_dead_letter_and_holds_up_nobody() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let mut worker = JoinSet::new();
    worker.spawn(consume::run(
        world.engine.clone(),
        world.broker.clone(),
        Health::new().component("upsync", Duration::from_secs(60)),
        CancellationToken::new(),
    ));
    let good = message(&world, row.id).await;
    let mut bad = good.clone();
    bad.body = b"{}".to_vec().into();
    let mut publisher = world.broker.publisher().await.unwrap();
    publisher.publish(UPSYNC, vec![bad.clone(), good]).await;
    world.assert_in_step(row.id).await;
    let platform::broker::Broker::InProcess(broker) = &world.broker else {
        panic!("the broker of the tests is in process");
    };
    assert_eq!(broker.dead_letters(UPSYNC), [bad]);
}

/// A57: given back, the message would be a dead letter before the database is there again.
#[tokio::test]
async fn a_message_is_kept_in_hand_while_the_database_is_away() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let message = message(&world, row.id).await;
    world.database_goes_away().await;
    let health = Health::new();
    let mut worker = JoinSet::new();
    worker.spawn(consume::run(
        world.engine.clone(),
        world.broker.clone(),
        health.component("upsync", Duration::from_secs(60)),
        CancellationToken::new(),
    ));
    let mut publisher = world.broker.publisher().await.unwrap();
    let publish = publisher.publish(UPSYNC, vec![message]);
    let heal = async {
        until_problem(&health).await;
        world.database_comes_back().await;
    };
    let (outcomes, ()) = tokio::join!(publish, heal);
    assert_eq!(outcomes, [Outcome::Confirmed]);
    world.assert_in_step(row.id).await;
}

#[tokio::test]
async fn while_stripe_is_away_nothing_is_lost_and_then_it_arrives() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let mut away = world.engine.clone();
    away.stripe = client("http://127.0.0.1:9", Duration::from_secs(1));
    let pushed = upsync::push(&away, row.id).await.unwrap();
    assert_eq!(pushed, Some(Pushed::Later));
    let link = world.link(row.id).await;
    assert!(link.next_attempt_at.is_some());
    assert_eq!((link.attempts, link.parked_reason), (1, None));
    assert_eq!(world.retry().await, 1);
    world.assert_in_step(row.id).await;
    assert_eq!(world.in_stripe_count(), 1);
}

#[tokio::test]
async fn a_customer_that_stripe_does_not_take_holds_up_no_other() {
    let world = World::new().await;
    let slow = world.synced(&[("email", "slow@x.io")]).await;
    let other = world.synced(&[("email", "other@x.io")]).await;
    let path = format!("POST /v1/customers/{}", world.stripe_id(slow.id).await);
    world.faults(&path, Kind::GatewayErrorBeforeEffect);
    for row in [&slow, &other] {
        world.update(row.id, &[("name", "B")]).await;
        world.push(row.id).await;
    }
    world.assert_in_step(other.id).await;
    for attempt in 2..5 {
        world.retry().await;
        assert_eq!(world.link(slow.id).await.attempts, attempt);
    }
    world.heal();
    world.retry().await;
    world.assert_in_step(slow.id).await;
}

/// A53
#[tokio::test]
async fn a_rate_limit_burns_no_attempt() {
    for reason in [Reason::GlobalRate, Reason::EndpointConcurrency] {
        let world = World::new().await;
        let row = world.create(&[("email", "a@x.io")]).await;
        world.fault("POST /v1/customers", Kind::RateLimited { reason });
        assert_eq!(world.push(row.id).await, Some(Pushed::Later));
        assert_eq!(world.link(row.id).await.attempts, 0);
        assert_eq!(world.retry().await, 1);
        world.assert_in_step(row.id).await;
        assert_eq!(world.in_stripe_count(), 1);
    }
}

/// A57: the broker lost its queue and nobody knows of the change any more.
#[tokio::test]
async fn a_change_whose_message_was_lost_is_found() {
    let world = World::new().await;
    let edited = world.synced(&[("email", "b@x.io"), ("name", "B")]).await;
    let created = world.create(&[("email", "a@x.io")]).await;
    world.update(edited.id, &[("name", "C")]).await;
    world.later(Duration::from_secs(180));
    // While the outbox has the change, its message is still to come.
    assert_eq!(world.missed().await, 0);
    entity::outbox::Entity::delete_many()
        .exec(&world.engine.db)
        .await
        .unwrap();
    assert_eq!(world.missed().await, 2);
    world.assert_in_step(created.id).await;
    world.assert_in_step(edited.id).await;
    assert_eq!(world.missed().await, 0);
}

/// A57: by the full pass, which runs at the start and from time to time.
#[tokio::test]
async fn a_full_pass_pushes_what_was_lost() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    entity::outbox::Entity::delete_many()
        .exec(&world.engine.db)
        .await
        .unwrap();
    world.later(Duration::from_secs(180));
    assert_eq!(world.pass().await.missed, 1);
    world.assert_in_step(row.id).await;
}
