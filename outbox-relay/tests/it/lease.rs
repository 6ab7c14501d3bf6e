//! One relay is active; the others stand by and take over.

use std::time::Duration;

use entity::message::UPSYNC;
use entity::timeline;
use outbox_relay::{Active, Error, LEASE};
use platform::database::Database;
use platform::lease;
use platform::test_support::{each_database, sqlite, until};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::support::{
    LIMIT, create, ended, event, in_process, next, relay, start, take, term, until_empty, until_ok,
    until_says, waiting,
};

async fn holder(db: &Database) -> Option<lease::Model> {
    lease::Entity::find_by_id(LEASE).one(db).await.unwrap()
}

async fn free(db: &Database) {
    lease::Entity::update_many()
        .col_expr(lease::Column::Owner, Expr::value(""))
        .filter(lease::Column::Name.eq(LEASE))
        .exec(db)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_replaced_relay_settles_nothing() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (old, _) = relay(db, &broker);
        let (new, _) = relay(db, &broker);
        let old_term = term(&old).await;
        let customer = create(db).await;
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

        let mut active = Active::new(&old, &old_term);
        let replace = async {
            let delivery = next(&mut consumer).await;
            free(db).await;
            let new_term = term(&new).await;
            assert_eq!(new_term.epoch(), old_term.epoch() + 1);
            delivery.ack().await.unwrap();
        };
        let (step, ()) = tokio::join!(active.run_once(), replace);
        assert!(matches!(step, Err(Error::Replaced)), "{step:?}");
        assert!(matches!(active.finish().await, Err(Error::Replaced)));
        assert_eq!(waiting(db).await, [event(&customer)]);
        let told = timeline::Entity::find().all(db).await.unwrap();
        assert!(told.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_relay_whose_lease_has_run_out_publishes_nothing() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (mut relay, _) = relay(db, &broker);
        relay.options.lease_ttl = Duration::ZERO;
        let term = term(&relay).await;
        create(db).await;
        let step = Active::new(&relay, &term).run_once().await;
        assert!(matches!(step, Err(Error::Replaced)), "{step:?}");
    })
    .await;
}

#[tokio::test]
async fn a_standby_takes_over_when_the_active_one_stops() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (first, first_health) = relay(db, &broker);
        let (second, second_health) = relay(db, &broker);
        let (first_task, first_stop) = start(first);
        until_ok(&first_health, "relay").await;
        let (_second_task, _stop) = start(second);
        until_says(&second_health, "relay", "standby").await;
        assert_eq!(holder(db).await.unwrap().epoch, 1);

        first_stop.cancel();
        ended(first_task).await;
        // Far less than the lease would last.
        until(
            "the second one has the lease",
            Duration::from_secs(5),
            async || (holder(db).await?.epoch == 2).then_some(()),
        )
        .await;
        let customer = create(db).await;
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
        until_empty(db).await;
        until_ok(&second_health, "relay").await;
    })
    .await;
}

/// RELAY_POLL is about the outbox, not about the lease.
#[tokio::test]
async fn a_standby_with_a_long_poll_takes_over_in_time() {
    let database = sqlite().await;
    let db = &database.connection;
    let broker = in_process();
    let (mut first, first_health) = relay(db, &broker);
    let (mut second, second_health) = relay(db, &broker);
    for relay in [&mut first, &mut second] {
        relay.options.lease_ttl = Duration::from_secs(25);
        relay.options.poll = Duration::from_secs(3600);
    }
    let (first_task, first_stop) = start(first);
    until_ok(&first_health, "relay").await;
    let (_second_task, _stop) = start(second);
    until_says(&second_health, "relay", "standby").await;
    first_stop.cancel();
    ended(first_task).await;
    until(
        "the second one has the lease",
        Duration::from_secs(10),
        async || (holder(db).await?.epoch == 2).then_some(()),
    )
    .await;
}

#[tokio::test]
async fn a_standby_takes_over_when_the_active_one_dies() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (mut first, first_health) = relay(db, &broker);
        first.options.lease_ttl = Duration::from_millis(400);
        let second = first.clone();
        let (mut first_task, _stop) = start(first);
        until_ok(&first_health, "relay").await;
        // Without the time to give anything back.
        first_task.shutdown().await;

        let (_second_task, _stop) = start(second);
        let customer = create(db).await;
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        assert_eq!(take(&mut consumer, 1).await, [event(&customer)]);
        until_empty(db).await;
        assert_eq!(holder(db).await.unwrap().epoch, 2);
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_is_renewed_outlives_its_time() {
    each_database(async |database| {
        let db = &database.connection;
        let (mut relay, health) = relay(db, &in_process());
        relay.options.lease_ttl = Duration::from_millis(300);
        let (_task, _stop) = start(relay);
        until_ok(&health, "relay").await;
        let first = holder(db).await.unwrap();
        until(
            "it was renewed for longer than it first ran",
            LIMIT,
            async || {
                let renewed = holder(db).await?;
                assert_eq!(renewed.epoch, first.epoch);
                (renewed.renewals - first.renewals > 10).then_some(())
            },
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_loses_its_lease_stands_by() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (mut loser, health) = relay(db, &broker);
        loser.options.lease_ttl = Duration::from_millis(300);
        let (_task, _stop) = start(loser);
        until_ok(&health, "relay").await;
        let (other, _) = relay(db, &broker);
        let other_lease = lease::Lease::new(LEASE, Duration::from_secs(600));
        until("another relay has taken the lease", LIMIT, async || {
            free(db).await;
            outbox_relay::Term::take(&other, &other_lease)
                .await
                .unwrap()
        })
        .await;
        until_says(&health, "relay", "standby").await;
        let customer = create(db).await;
        assert_eq!(waiting(db).await, [event(&customer)]);
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_the_batch_that_is_under_way_and_gives_the_lease_back() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        create(db).await;
        let (task, stop) = start(relay);
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        let delivery = next(&mut consumer).await;
        stop.cancel();
        // The relay has every chance to notice, and its step still waits for this.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        delivery.ack().await.unwrap();
        ended(task).await;
        assert!(waiting(db).await.is_empty());
        assert_eq!(holder(db).await.unwrap().owner, "");
    })
    .await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_confirm_that_does_not_come() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        let customer = create(db).await;
        let (task, stop) = start(relay);
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        let _unsettled = next(&mut consumer).await;
        stop.cancel();
        ended(task).await;
        assert_eq!(waiting(db).await, [event(&customer)]);
        assert_eq!(holder(db).await.unwrap().owner, "");
    })
    .await;
}
