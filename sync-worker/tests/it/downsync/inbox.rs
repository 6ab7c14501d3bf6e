//! The inbox under its loop: worked off when it is woken, whatever else the scanner does.

use std::time::{Duration, Instant};

use entity::stripe_event;
use platform::database;
use platform::lease::Lease;
use platform::test_support::{postgres, until};
use sea_orm::EntityTrait;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::inbox::GAP;
use sync_worker::downsync::scan::{self, LEASE};
use tokio_util::sync::CancellationToken;

use super::event::deliver;
use crate::harness::{Setup, World};

const LIMIT: Duration = Duration::from_secs(20);

/// Runs a scanner beside `work`.
async fn beside(world: &World, scan: scan::Scan, work: impl AsyncFnOnce()) {
    let stop = CancellationToken::new();
    let working = async {
        work().await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(Box::pin(scan::run(scan, stop.clone())), working);
    ended.unwrap();
    world.forget_requests();
}

fn reads_of(world: &World, stripe_id: &str) -> usize {
    let path = format!("GET /v1/customers/{stripe_id}");
    world.reads().iter().filter(|read| **read == path).count()
}

async fn is_named(world: &World, id: uuid::Uuid, name: &str) {
    until("the edit comes home", LIMIT, async || {
        (world.row(id).await.name.as_deref() == Some(name)).then_some(())
    })
    .await;
}

/// The next poll of the events is an hour away, and twenty looks at the inbox unasked would take twenty seconds.
#[tokio::test]
async fn an_event_comes_home_when_the_inbox_is_woken_and_no_poll_is_needed() {
    let world = World::with(Setup::in_real_time()).await;
    let mut rows = Vec::new();
    for n in 0..20 {
        let email = format!("{n}@x.io");
        rows.push(world.synced(&[("email", &email), ("name", "A")]).await);
    }
    let scan = world.scan();
    let inbox = scan.inbox.clone();
    beside(&world, scan, async || {
        // Its first poll and pass, which are not what this is about.
        until("the scanner has polled", LIMIT, async || {
            let reads = world.reads();
            reads
                .iter()
                .any(|read| read.contains("/v1/events"))
                .then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let started = Instant::now();
        world.forget_requests();
        for row in &rows {
            let stripe_id = world.stripe_id(row.id).await;
            world.stripe_edits(&stripe_id, &[("name", "B")]);
            deliver(
                &world,
                &format!("evt_{stripe_id}"),
                "customer.updated",
                &stripe_id,
                None,
            )
            .await;
            inbox.wake();
            is_named(&world, row.id, "B").await;
        }
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
        assert!(!world.reads().iter().any(|read| read.contains("/v1/events")));
    })
    .await;
}

/// The list of customers does not answer, so the full pass does not come to an end.
#[tokio::test]
async fn a_full_pass_that_takes_long_holds_up_no_event() {
    let world = World::with(Setup::in_real_time()).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    world.faults(
        "GET /v1/customers",
        Kind::LatencyBeforeEffect {
            delay: Duration::from_secs(600),
        },
    );
    let scan = world.scan();
    let inbox = scan.inbox.clone();
    let stop = CancellationToken::new();
    let work = async {
        until("the pass has begun", LIMIT, async || {
            world
                .reads()
                .contains(&"GET /v1/customers".to_owned())
                .then_some(())
        })
        .await;
        world.stripe_edits(&stripe_id, &[("name", "B")]);
        deliver(&world, "evt_1", "customer.updated", &stripe_id, None).await;
        inbox.wake();
        is_named(&world, row.id, "B").await;
    };
    tokio::select! {
        _ = Box::pin(scan::run(scan, stop.clone())) => panic!("nobody stopped it"),
        () = work => {}
    }
}

#[tokio::test]
async fn a_stand_by_leaves_the_inbox_alone_until_the_lease_is_its_own() {
    let world = World::with(Setup::in_real_time()).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let (db, clock) = (&world.engine.db, &world.engine.clock);
    let other = Lease::new(LEASE, Duration::from_secs(600));
    let held = other.acquire(db, clock).await.unwrap().unwrap();
    let scan = world.scan();
    let inbox = scan.inbox.clone();
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    deliver(&world, "evt_1", "customer.updated", &stripe_id, None).await;
    inbox.wake();
    beside(&world, scan, async || {
        world.until_well("inbox").await;
        let waits = stripe_event::Entity::find_by_id("evt_1")
            .one(db)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(waits.processed_at, None);
        assert_eq!(reads_of(&world, &stripe_id), 0);
        other.release(db, &held).await.unwrap();
        is_named(&world, row.id, "B").await;
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_events_of_one_customer_costs_two_reads_at_most() {
    let world = World::with(Setup::in_real_time()).await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let scan = world.scan();
    let inbox = scan.inbox.clone();
    beside(&world, scan, async || {
        // The pass of the start is over, and so is the proof of the account by a linked customer.
        world.until_well("scan").await;
        world.forget_requests();
        let started = Instant::now();
        for n in 1..=200 {
            world.stripe_edits(&stripe_id, &[("name", &n.to_string())]);
            deliver(
                &world,
                &format!("evt_{n}"),
                "customer.updated",
                &stripe_id,
                None,
            )
            .await;
            inbox.wake();
        }
        is_named(&world, row.id, "200").await;
        // On a machine on which the burst takes longer than the gap it is more than one burst.
        let gaps = started.elapsed().as_millis() / GAP.as_millis();
        let reads = reads_of(&world, &stripe_id) as u128;
        assert!(
            (1..=gaps + 1).contains(&reads),
            "{reads} reads in {gaps} gaps"
        );
    })
    .await;
}

/// A broken customer is tried again after a while; what comes for the others is not held up by that.
#[tokio::test]
async fn a_customer_that_cannot_be_read_holds_up_no_event_of_another() {
    let world = World::with(Setup::in_real_time()).await;
    let poison = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let other = world.synced(&[("email", "b@x.io"), ("name", "A")]).await;
    let ids = [
        world.stripe_id(poison.id).await,
        world.stripe_id(other.id).await,
    ];
    world.faults(&format!("GET /v1/customers/{}", ids[0]), Kind::GarbledBody);
    let scan = world.scan();
    let inbox = scan.inbox.clone();
    beside(&world, scan, async || {
        world.stripe_edits(&ids[0], &[("name", "B")]);
        deliver(&world, "evt_poison", "customer.updated", &ids[0], None).await;
        for n in 1..=5 {
            let name = n.to_string();
            world.stripe_edits(&ids[1], &[("name", &name)]);
            deliver(
                &world,
                &format!("evt_{n}"),
                "customer.updated",
                &ids[1],
                None,
            )
            .await;
            inbox.wake();
            is_named(&world, other.id, &name).await;
        }
        world.heal();
        is_named(&world, poison.id, "B").await;
    })
    .await;
}

/// Fewer than reads of customers side by side: those that are under way must leave some to the loop.
#[tokio::test]
async fn events_are_applied_with_few_database_connections() {
    const CUSTOMERS: usize = 60;
    let mut database = postgres().await;
    database.connection = database::connect(&database.url, 2).await.unwrap();
    let world = World::on(database, Setup::default()).await;
    for number in 0..CUSTOMERS {
        world.stripe_creates(&[("email", &format!("{number}@x.io"))]);
    }
    let applied = tokio::time::timeout(Duration::from_secs(20), world.events());
    applied.await.expect("no read waits for a connection");
    world.settle().await;
    assert_eq!(world.rows().await.len(), CUSTOMERS);
}
