//! The tasks of a worker together: what its loops do by themselves.

use std::time::Duration;

use entity::customer;
use entity::message::{Changed, EXCHANGE, Origin, QUEUES, SOURCE, UPSYNC};
use platform::broker::{Broker, Message, Outcome, Topology};
use platform::health::Health;
use platform::lease;
use platform::supervisor::Supervisor;
use platform::test_support::until;
use platform::wake::Wake;
use sea_orm::{ConnectionTrait, EntityTrait};
use stripe_sandbox::fault::Kind;
use sync_worker::Worker;
use sync_worker::downsync::scan::Intervals;
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, World};

const LIMIT: Duration = Duration::from_secs(30);

async fn running(world: &World, broker: &Broker) -> Supervisor {
    let worker = Worker {
        engine: world.engine.clone(),
        broker: broker.clone(),
        intervals: Intervals {
            events: Duration::from_millis(50),
            full_pass: Duration::from_secs(3600),
        },
        inbox: Wake::default(),
        health: Health::new(),
    };
    let mut supervisor = Supervisor::new(Duration::from_secs(10));
    sync_worker::start(&mut supervisor, worker).await.unwrap();
    supervisor
}

fn message(row: &customer::Model) -> Message {
    Message {
        id: row.rev.to_string(),
        kind: "customer.created".to_owned(),
        source: SOURCE.to_owned(),
        subject: row.id.to_string(),
        schema: None,
        time: row.updated_at,
        traceparent: None,
        body: Changed::of(row, Origin::Application)
            .to_json()
            .to_string()
            .into_bytes()
            .into(),
    }
}

#[tokio::test]
async fn a_worker_carries_changes_both_ways_until_it_is_stopped() {
    let world = World::with(Setup::in_real_time()).await;
    let broker = Broker::in_process(&Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    });
    let supervisor = running(&world, &broker).await;
    let stop = CancellationToken::new();
    let work = async {
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        let mut publisher = broker.publisher().await.unwrap();
        let outcomes = publisher.publish(UPSYNC, vec![message(&row)]).await;
        assert_eq!(outcomes, [Outcome::Confirmed]);
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("name", "B")]);
        until("the edit comes home", LIMIT, async || {
            (world.row(row.id).await.name.as_deref() == Some("B")).then_some(())
        })
        .await;
        world.stripe_deletes(&stripe_id);
        until("the deletion comes home", LIMIT, async || {
            world.row(row.id).await.is_deleted().then_some(())
        })
        .await;
        assert_eq!(world.calls(), ["POST /v1/customers"]);
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(supervisor.run_until(stop.cancelled()), work);
    ended.unwrap();
}

/// A59: the worker is stopped with work of every kind under way, both sides go on, and another one starts.
#[tokio::test]
async fn a_worker_that_starts_after_a_pause_goes_on_where_the_last_one_stopped() {
    let world = World::with(Setup::in_real_time()).await;
    let broker = Broker::in_process(&Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    });
    let edited = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let begun = world.create(&[("email", "b@x.io")]).await;
    let stripe_id = world.stripe_id(edited.id).await;
    // A push whose answer is lost, a copy that was put aside, an event that waits in the inbox.
    world.fault("POST /v1/customers", Kind::ResetAfterEffect);
    world.push(begun.id).await;
    let stale = world.read(&stripe_id).await;
    world.update(edited.id, &[("phone", "1")]).await;
    world.push(edited.id).await;
    world.apply(&stale).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.poll().await;
    world.update(begun.id, &[("name", "C")]).await;

    let supervisor = running(&world, &broker).await;
    let stop = CancellationToken::new();
    let work = async {
        until("all of it is done", LIMIT, async || {
            let home = world.row(edited.id).await.name.as_deref() == Some("B");
            let link = world.link(begun.id).await;
            // The pass and the event may both have read it: then the older copy asks for one more look.
            let looks = [&link, &world.link(edited.id).await];
            let is_at_rest = looks.iter().all(|link| link.recheck_at.is_none());
            (home && is_at_rest && link.stripe_id.is_some() && link.synced_rev == 2).then_some(())
        })
        .await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(supervisor.run_until(stop.cancelled()), work);
    ended.unwrap();
    world.assert_in_step(edited.id).await;
    world.assert_in_step(begun.id).await;
    assert_eq!(world.made_for(begun.id), 1);
}

/// What a worker cannot give back expires by itself, and is no failure of the stop.
#[tokio::test]
async fn worker_stops_well_without_its_leases() {
    let world = World::with(Setup::in_real_time()).await;
    let supervisor = running(&world, &world.broker).await;
    let stop = CancellationToken::new();
    let work = async {
        let db = &world.engine.db;
        until("it holds both leases", LIMIT, async || {
            let leases = lease::Entity::find().all(db).await.unwrap();
            let held = leases.iter().filter(|lease| !lease.owner.is_empty());
            (held.count() == 2).then_some(())
        })
        .await;
        let rename = "ALTER TABLE lease RENAME TO away";
        db.execute_unprepared(rename).await.unwrap();
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(supervisor.run_until(stop.cancelled()), work);
    ended.unwrap();
}
