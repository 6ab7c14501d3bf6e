//! One step: what is published, what is deleted, and what is not.

use entity::message::{SCHEMA, UPSYNC};
use entity::timeline::{self, Step};
use outbox_relay::{Active, Error};
use platform::database::Database;
use platform::test_support::{each_database, postgres, sqlite};
use sea_orm::{ConnectionTrait, EntityTrait};
use uuid::Uuid;

use crate::support::{create, event, in_process, narrow, next, relay, take, term, update, waiting};

#[tokio::test]
async fn a_row_is_deleted_only_after_its_own_confirm() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        let term = term(&relay).await;
        let customers = [create(db).await, create(db).await, create(db).await];
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

        let consume = async {
            let first = next(&mut consumer).await;
            let second = next(&mut consumer).await;
            let third = next(&mut consumer).await;
            // Delivered is not confirmed.
            assert_eq!(waiting(db).await.len(), 3);
            third.ack().await.unwrap();
            first.ack().await.unwrap();
            drop(second);
        };
        let mut active = Active::new(&relay, &term);
        let (counts, ()) = tokio::join!(active.run_once(), consume);
        let counts = counts.unwrap();
        assert_eq!((counts.read, counts.confirmed, counts.unsettled), (3, 2, 1));
        active.finish().await.unwrap();
        assert_eq!(waiting(db).await, [event(&customers[1])]);
    })
    .await;
}

#[tokio::test]
async fn a_crash_after_the_confirm_sends_the_event_again() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        let term = term(&relay).await;
        let customer = create(db).await;
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

        let mut crashing = Active::new(&relay, &term);
        tokio::select! {
            biased;
            ids = take(&mut consumer, 1) => assert_eq!(ids, [event(&customer)]),
            _ = crashing.run_once() => panic!("the confirm comes before the step can end"),
        }
        drop(crashing);
        assert_eq!(waiting(db).await, [event(&customer)]);

        let mut active = Active::new(&relay, &term);
        let (counts, ids) = tokio::join!(active.run_once(), take(&mut consumer, 1));
        assert_eq!(
            (counts.unwrap().confirmed, ids),
            (1, vec![event(&customer)])
        );
        assert!(waiting(db).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn windows_follow_each_other_in_order_and_nothing_is_sent_twice() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let relay = narrow(db, &broker, 2);
        let term = term(&relay).await;
        let first = create(db).await;
        let second = create(db).await;
        let mut expected = vec![event(&first), event(&second)];
        for _ in 0..3 {
            expected.push(event(&update(db, &first).await));
        }
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

        let mut active = Active::new(&relay, &term);
        let steps = async {
            let mut steps = Vec::new();
            while steps.is_empty() || steps.last().is_some_and(|(_, more)| *more) {
                let counts = active.run_once().await.unwrap();
                steps.push((counts.confirmed, counts.more));
            }
            steps
        };
        let (steps, ids) = tokio::join!(steps, take(&mut consumer, 5));
        assert_eq!(
            steps.iter().map(|(confirmed, _)| confirmed).sum::<usize>(),
            5
        );
        assert_eq!(ids, expected);
        assert!(waiting(db).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_was_not_confirmed_is_published_again_from_there_on_and_in_order() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        let term = term(&relay).await;
        let first = create(db).await;
        let other = create(db).await;
        let second = update(db, &first).await;
        let third = update(db, &first).await;
        let left = [event(&first), event(&second), event(&third)];
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

        let mut active = Active::new(&relay, &term);
        let consume = async {
            drop(next(&mut consumer).await);
            assert_eq!(
                take(&mut consumer, 3).await,
                [event(&other), event(&second), event(&third)]
            );
        };
        let (counts, ()) = tokio::join!(active.run_once(), consume);
        let counts = counts.unwrap();
        assert_eq!((counts.confirmed, counts.unsettled), (1, 3));
        assert_eq!(waiting(db).await, left);

        let (counts, ids) = tokio::join!(active.run_once(), take(&mut consumer, 3));
        assert_eq!((counts.unwrap().confirmed, ids), (3, left.to_vec()));
        assert!(waiting(db).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_failure_of_the_database_forgets_no_confirm_and_leaves_no_row_out() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let relay = narrow(db, &broker, 1);
        let term = term(&relay).await;
        let mut expected = Vec::new();
        for _ in 0..3 {
            expected.push(event(&create(db).await));
        }
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        let mut active = Active::new(&relay, &term);

        // The first row can't be deleted now.
        let rename = "alter table lease rename to elsewhere";
        db.execute_unprepared(rename).await.unwrap();
        let (step, mut ids) = tokio::join!(active.run_once(), take(&mut consumer, 1));
        let step = match step {
            Ok(_) => active.run_once().await,
            failed => failed,
        };
        assert!(matches!(step, Err(Error::Database(_))), "{step:?}");
        assert_eq!(waiting(db).await, expected);

        let rename = "alter table elsewhere rename to lease";
        db.execute_unprepared(rename).await.unwrap();
        let steps = async {
            while !waiting(db).await.is_empty() {
                active.run_once().await.unwrap();
            }
        };
        let ((), others) = tokio::join!(steps, take(&mut consumer, 2));
        ids.extend(others);
        active.finish().await.unwrap();
        assert_eq!(ids, expected);
        assert!(waiting(db).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_message_is_the_row() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        let term = term(&relay).await;
        let customer = create(db).await;
        let row = entity::outbox::Entity::find()
            .one(db)
            .await
            .unwrap()
            .unwrap();
        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();

        let mut active = Active::new(&relay, &term);
        let consume = async {
            let delivery = next(&mut consumer).await;
            let message = delivery.message.clone();
            delivery.ack().await.unwrap();
            message
        };
        let (counts, message) = tokio::join!(active.run_once(), consume);
        counts.unwrap();
        assert_eq!(message.id, format!("{}/1", customer.id));
        assert_eq!(message.kind, "dev.customer-sync.customer.created");
        assert!(
            message.source.starts_with("urn:uuid:"),
            "{}",
            message.source
        );
        assert_eq!(message.schema.as_deref(), Some(SCHEMA));
        assert_eq!(message.subject, customer.id.to_string());
        assert_eq!(
            (message.time, message.traceparent),
            (row.created_at, row.traceparent)
        );
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(body, row.payload);
    })
    .await;
}

#[tokio::test]
async fn a_step_without_rows_does_nothing() {
    let database = sqlite().await;
    let (relay, _) = relay(&database.connection, &in_process());
    let term = term(&relay).await;
    let counts = Active::new(&relay, &term).run_once().await.unwrap();
    assert_eq!(counts, outbox_relay::Counts::default());
}

/// A settled row is on the timeline, with the time of its commit and that of its publishing.
#[tokio::test]
async fn what_is_settled_is_moved_to_the_timeline() {
    each_database(async |database| {
        let db = &database.connection;
        let broker = in_process();
        let (relay, _) = relay(db, &broker);
        let term = term(&relay).await;
        let first = create(db).await;
        let second = update(db, &first).await;
        let story = async || {
            let entries = timeline::page(db, first.id, None, 10).await.unwrap();
            let told = entries.iter().map(|entry| {
                let kind = entry.detail.kind.clone().unwrap();
                (entry.step, entry.rev, kind, entry.place.at)
            });
            told.collect::<Vec<_>>()
        };
        let commits = [
            (
                Step::Commit,
                Some(1),
                "created".to_owned(),
                first.created_at,
            ),
            (
                Step::Commit,
                Some(2),
                "updated".to_owned(),
                second.updated_at,
            ),
        ];
        assert_eq!(story().await, commits);

        let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
        let mut active = Active::new(&relay, &term);
        let (counts, _) = tokio::join!(active.run_once(), take(&mut consumer, 2));
        assert_eq!(counts.unwrap().confirmed, 2);
        active.finish().await.unwrap();
        assert!(waiting(db).await.is_empty());
        let told = story().await;
        assert_eq!(told[..2], commits);
        let published: Vec<_> = told[2..]
            .iter()
            .map(|(step, rev, ..)| (*step, *rev))
            .collect();
        assert_eq!(
            published,
            [(Step::Publish, Some(1)), (Step::Publish, Some(2))]
        );
        assert!(told[2].3 >= second.updated_at);
    })
    .await;
}

/// The source of the event of a new customer, as a relay that takes over publishes it.
async fn source(db: &Database) -> String {
    let broker = in_process();
    let (relay, _) = relay(db, &broker);
    let term = term(&relay).await;
    create(db).await;
    let mut consumer = broker.consumer(UPSYNC, 10).await.unwrap();
    let mut active = Active::new(&relay, &term);
    let consume = async {
        let delivery = next(&mut consumer).await;
        let source = delivery.message.source.clone();
        delivery.ack().await.unwrap();
        source
    };
    let (counts, source) = tokio::join!(active.run_once(), consume);
    counts.unwrap();
    active.finish().await.unwrap();
    term.release(&relay).await.unwrap();
    source
}

#[tokio::test]
async fn every_relay_of_a_database_publishes_under_one_source() {
    each_database(async |database| {
        let db = &database.connection;
        assert_eq!(source(db).await, source(db).await);
    })
    .await;
}

/// Its revs, and so the ids of its events, are used again.
#[tokio::test]
async fn a_database_restored_from_a_dump_has_a_source_of_its_own() {
    let database = postgres().await;
    let before = source(&database.connection).await;
    let dump = std::env::temp_dir().join(format!("relay-{}.dump", Uuid::new_v4()));
    database.back_up(&dump).await;
    let restored = database.restored(&dump).await;
    std::fs::remove_file(dump).unwrap();
    let after = source(&restored.connection).await;
    assert_ne!(before, after);
    assert_eq!(source(&restored.connection).await, after);
    assert_eq!(source(&database.connection).await, before);
}

/// SQLite has nothing that tells a restored file from the one that was copied.
#[tokio::test]
async fn a_restored_sqlite_file_keeps_its_source() {
    let database = sqlite().await;
    let before = source(&database.connection).await;
    let copy = std::env::temp_dir().join(format!("relay-{}.db", Uuid::new_v4()));
    database.back_up(&copy).await;
    let restored = database.restored(&copy).await;
    std::fs::remove_file(copy).unwrap();
    assert_eq!(source(&restored.connection).await, before);
}
