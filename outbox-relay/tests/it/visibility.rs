//! Rows whose ids are lower than others that were committed before them.

use entity::message::UPSYNC;
use outbox_relay::Active;
use platform::database::{self, Database};
use platform::test_support::postgres;
use sea_orm::ConnectionTrait;

use crate::support::{
    create, create_in, event, in_process, relay, start, take, term, until_empty, update, update_in,
    waiting,
};

/// As if so many ids had been given to others meanwhile.
async fn skip_ids(db: &Database, to: u32) {
    let sql = format!("select setval(pg_get_serial_sequence('outbox', 'id'), {to})");
    db.execute_unprepared(&sql).await.unwrap();
}

#[tokio::test]
async fn a_lower_id_that_is_committed_late_is_published_by_the_next_step() {
    let database = postgres().await;
    let db = &database.connection;
    let broker = in_process();
    let (relay, _) = relay(db, &broker);
    let term = term(&relay).await;
    let mut active = Active::new(&relay, &term);
    let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

    let late = database::begin(db).await.unwrap();
    let first = create_in(&late).await;
    let second = create(db).await;
    let (counts, ids) = tokio::join!(active.run_once(), take(&mut consumer, 1));
    assert_eq!((counts.unwrap().confirmed, ids), (1, vec![event(&second)]));
    late.commit().await.unwrap();

    let (counts, ids) = tokio::join!(active.run_once(), take(&mut consumer, 1));
    assert_eq!((counts.unwrap().confirmed, ids), (1, vec![event(&first)]));
    assert!(waiting(db).await.is_empty());
}

#[tokio::test]
async fn a_rev_never_overtakes_one_that_was_committed_very_late() {
    let database = postgres().await;
    let db = &database.connection;
    let broker = in_process();
    let (relay, _) = relay(db, &broker);
    let term = term(&relay).await;
    let mut active = Active::new(&relay, &term);
    let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
    let customer = create(db).await;
    let (counts, _) = tokio::join!(active.run_once(), take(&mut consumer, 1));
    counts.unwrap();

    let late = database::begin(db).await.unwrap();
    let second = update_in(&late, &customer).await;
    skip_ids(db, 50_000).await;
    let other = create(db).await;
    let (counts, ids) = tokio::join!(active.run_once(), take(&mut consumer, 1));
    assert_eq!((counts.unwrap().confirmed, ids), (1, vec![event(&other)]));
    late.commit().await.unwrap();
    let third = update(db, &second).await;

    let steps = async {
        while !waiting(db).await.is_empty() {
            active.run_once().await.unwrap();
        }
    };
    let ((), ids) = tokio::join!(steps, take(&mut consumer, 2));
    assert_eq!(ids, [event(&second), event(&third)]);
}

#[tokio::test]
async fn writers_at_the_same_time_lose_nothing_and_keep_the_order_of_each_customer() {
    const WRITERS: usize = 6;
    const REVS: usize = 25;
    let database = postgres().await;
    let db = &database.connection;
    let broker = in_process();
    let (mut relay, _) = relay(db, &broker);
    relay.options.window = 7;
    let wake = relay.wake.clone();
    let (_tasks, _stop) = start(relay);
    let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (db, wake) = (db.clone(), wake.clone());
        writers.spawn(async move {
            let mut customer = create(&db).await;
            for _ in 1..REVS {
                // Ids are taken and not used yet while others commit theirs.
                let tx = database::begin(&db).await.unwrap();
                customer = update_in(&tx, &customer).await;
                tokio::task::yield_now().await;
                tx.commit().await.unwrap();
                wake.wake();
            }
        });
    }
    let mut ids = take(&mut consumer, WRITERS * REVS).await;
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    until_empty(db).await;

    let arrived = ids.len();
    let key = |id: &String| {
        let (customer, rev) = id.split_once('/').unwrap();
        (customer.to_owned(), rev.parse::<i64>().unwrap())
    };
    // A stable sort by customer keeps the order in which the revs of each arrived.
    ids.sort_by_key(|id| key(id).0);
    let by_arrival = ids.clone();
    ids.sort_by_key(key);
    assert_eq!(by_arrival, ids);
    ids.dedup();
    assert_eq!(ids.len(), arrived);
}
