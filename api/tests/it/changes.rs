//! The feed of changes: it holds every change, in order per customer, and skips none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use entity::change::Position;
use entity::fields::Fields;
use entity::{change, customer, installation, timeline, write};
use platform::database::begin;
use platform::test_support::{each_database, postgres, until};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::client::{Api, CUSTOMERS, Publisher, path_of};

/// A cursor before every change.
const START: &str = "AAAAAAAAAAAAAAAAAAAAAP__________AAAAAAAAAAA";
const PATIENCE: Duration = Duration::from_secs(60);
const CHANGES: &str = "/api/v1/changes";

async fn source(api: &Api) {
    let tx = begin(&api.db).await.unwrap();
    installation::source(&tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn page(api: &Api, after: &str) -> Value {
    api.get(&format!("{CHANGES}?after={after}"))
        .await
        .expect(200)
}

fn cursor(page: &Value) -> String {
    page["next_cursor"].as_str().unwrap().to_owned()
}

/// The changes behind a cursor, once there are so many: transactions of tests beside this one delay the feed.
async fn page_of(api: &Api, after: &str, count: usize) -> Value {
    let mut read = Value::Null;
    until("the changes are in the feed", PATIENCE, async || {
        read = page(api, after).await;
        (revs(&read).len() >= count).then_some(())
    })
    .await;
    assert_eq!(revs(&read).len(), count);
    read
}

/// Customer and revision of each change.
fn revs(page: &Value) -> Vec<(String, i64)> {
    let changes = page["data"].as_array().unwrap().iter();
    let named = changes.map(|change| {
        let id = change["customer_id"].as_str().unwrap().to_owned();
        (id, change["rev"].as_i64().unwrap())
    });
    named.collect()
}

#[tokio::test]
async fn feed_holds_changes_of_both_sides_before_and_after_publishing() {
    each_database(async |database| {
        let api = Api::on(database);
        let start = page(&api, "now").await;
        assert_eq!(start["data"], json!([]));
        let bob = api.created("bob@example.com").await;
        let id = bob["id"].as_str().unwrap();
        api.call(
            "PATCH",
            &path_of(&bob),
            json!({"name": "Rob", "phone": "1"}),
        )
        .await
        .expect(200);
        // As the worker applies what was edited in Stripe.
        let tx = begin(&api.db).await.unwrap();
        let row = customer::lock(&tx, id.parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        let email = entity::email::Email::parse(&row.email).unwrap();
        let fields = Fields {
            phone: None,
            ..row.fields()
        };
        write::take(&tx, &row, (&email, &fields), api.now().await, None)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        api.delete(&path_of(&bob), &[]).await.expect(200);

        let waiting = page_of(&api, &cursor(&start), 4).await;
        let told: Vec<_> = waiting["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| {
                assert_eq!(change["customer_id"], id);
                assert_eq!(change["customer"]["rev"], 4);
                json!([
                    change["rev"],
                    change["type"],
                    change["origin"],
                    change["fields"]
                ])
            })
            .collect();
        assert_eq!(
            told,
            [
                json!([1, "created", "application", ["email", "name"]]),
                json!([2, "updated", "application", ["name", "phone"]]),
                json!([3, "updated", "stripe", ["phone"]]),
                json!([4, "deleted", "application", []]),
            ]
        );
        Publisher::new(&api).await.publish(&api).await;
        let published = page(&api, &cursor(&start)).await;
        assert_eq!(published["data"], waiting["data"]);
        assert_eq!(page(&api, &cursor(&published)).await["data"], json!([]));
        let all = api.get(CHANGES).await.expect(200);
        assert_eq!(all["data"], waiting["data"]);
    })
    .await;
}

#[tokio::test]
async fn pages_hold_each_change_once_while_the_relay_moves_them() {
    each_database(async |database| {
        let api = Api::on(database);
        for number in 0..7 {
            api.created(&format!("{number}@example.com")).await;
        }
        let publisher = Publisher::new(&api).await;
        page_of(&api, START, 7).await;
        let (mut read, mut path) = (Vec::new(), format!("{CHANGES}?limit=2"));
        loop {
            let page = api.get(&path).await.expect(200);
            read.extend(revs(&page));
            if read.len() == 4 {
                publisher.publish(&api).await;
            }
            if page["has_more"] == false {
                break;
            }
            path = format!("{CHANGES}?limit=2&after={}", cursor(&page));
        }
        let ids: Vec<_> = api
            .customers()
            .await
            .into_iter()
            .map(|row| row.id.to_string())
            .collect();
        assert_eq!(read.len(), 7);
        assert!(ids.iter().all(|id| read.contains(&(id.clone(), 1))));
    })
    .await;
}

/// An open transaction has a lower id than one that was committed meanwhile.
///
/// A70
#[tokio::test]
async fn change_behind_an_open_transaction_is_not_skipped() {
    let api = Api::on(postgres().await);
    let early = api.created("early@example.com").await;
    let id: Uuid = early["id"].as_str().unwrap().parse().unwrap();
    page_of(&api, START, 1).await;
    for (ends_well, rev) in [(true, 2), (false, 3)] {
        let open = begin(&api.db).await.unwrap();
        let locked = customer::lock(&open, id).await.unwrap().unwrap();
        write::resend(&open, &locked, api.now().await, None)
            .await
            .unwrap();
        let late = api.created(&format!("late{rev}@example.com")).await;
        let late = (late["id"].as_str().unwrap().to_owned(), 1);
        let before = page(&api, START).await;
        assert!(!revs(&before).contains(&late), "{before}");
        if ends_well {
            open.commit().await.unwrap();
        } else {
            open.rollback().await.unwrap();
        }
        let mut rest = Vec::new();
        until("the later change is in the feed", PATIENCE, async || {
            rest = revs(&page(&api, &cursor(&before)).await);
            rest.contains(&late).then_some(())
        })
        .await;
        assert_eq!(rest.contains(&(id.to_string(), rev)), ends_well);
    }
}

/// A transaction that is older than the one before it at the same customer, because it has waited for the lock.
///
/// A70
#[tokio::test]
async fn changes_of_a_customer_keep_the_order_of_their_revisions() {
    let api = Api::on(postgres().await);
    let row = api.created("bob@example.com").await;
    let older = begin(&api.db).await.unwrap();
    older
        .execute_unprepared("SELECT pg_current_xact_id()")
        .await
        .unwrap();
    api.call("PATCH", &path_of(&row), json!({"name": "newer"}))
        .await
        .expect(200);
    let id = row["id"].as_str().unwrap();
    let locked = customer::lock(&older, id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    write::resend(&older, &locked, api.now().await, None)
        .await
        .unwrap();
    older.commit().await.unwrap();
    let all = page_of(&api, START, 3).await;
    let expected: Vec<_> = (1..=3).map(|rev| (id.to_owned(), rev)).collect();
    assert_eq!(revs(&all), expected);
}

/// Writers race, and some are killed in the middle of a transaction; a reader follows them.
///
/// A70
#[tokio::test(flavor = "multi_thread")]
async fn follower_of_racing_writers_reads_every_change() {
    const WRITERS: usize = 4;
    const WRITES: usize = 25;
    let api = Api::on(postgres().await);
    let mut after = cursor(&page(&api, "now").await);
    let rows: Vec<Value> = {
        let mut rows = Vec::new();
        for number in 0..4 {
            rows.push(api.created(&format!("{number}@example.com")).await);
        }
        rows
    };
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (api, rows) = (api.clone(), rows.clone());
        writers.spawn(async move {
            for write in 0..WRITES {
                let row = &rows[(writer + write) % rows.len()];
                if write % 5 == 4 {
                    // As a killed process leaves it: an id is taken, and nothing is committed.
                    let tx = begin(&api.db).await.unwrap();
                    let id = row["id"].as_str().unwrap().parse().unwrap();
                    let locked = customer::lock(&tx, id).await.unwrap().unwrap();
                    write::resend(&tx, &locked, api.clock.now(), None)
                        .await
                        .unwrap();
                    drop(tx);
                    continue;
                }
                let name = format!("{writer} {write}");
                api.call("PATCH", &path_of(row), json!({"name": name}))
                    .await
                    .expect(200);
            }
        });
    }
    let publisher = Publisher::new(&api).await;
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut is_over = false;
    loop {
        let page = page(&api, &after).await;
        after = cursor(&page);
        let read = revs(&page);
        for (id, rev) in &read {
            let before = last.insert(id.clone(), *rev).unwrap_or(0);
            assert_eq!(*rev, before + 1, "of {id}");
        }
        let is_complete = last.values().sum::<i64>() == api.revs().await;
        if is_over && is_complete {
            break;
        }
        publisher.publish(&api).await;
        is_over = is_over || writers.is_empty();
        while writers.try_join_next().map(Result::unwrap).is_some() {}
    }
    let present = api
        .customers()
        .await
        .into_iter()
        .map(|row| (row.id.to_string(), row.rev));
    assert_eq!(last, present.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_request_ends_with_the_first_change() {
    each_database(async |database| {
        let api = Api::on(database);
        let start = cursor(&page(&api, "now").await);
        let path = format!("{CHANGES}?after={start}&wait=30s");
        let began = Instant::now();
        let write = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            api.created("bob@example.com").await
        };
        let (waited, _) = tokio::join!(api.get(&path), write);
        assert_eq!(revs(&waited.expect(200)).len(), 1);
        assert!(began.elapsed() < Duration::from_secs(10));
        let empty = format!("{CHANGES}?after=now&wait=300ms");
        let began = Instant::now();
        assert_eq!(api.get(&empty).await.expect(200)["data"], json!([]));
        assert!(began.elapsed() >= Duration::from_millis(300));
    })
    .await;
}

#[tokio::test]
async fn cursor_expires_with_its_changes_and_with_a_restore() {
    each_database(async |database| {
        let api = Api::on(database);
        source(&api).await;
        let start = cursor(&page(&api, "now").await);
        api.created("bob@example.com").await;
        Publisher::new(&api).await.publish(&api).await;
        let present = cursor(&page_of(&api, &start, 1).await);
        api.later(Duration::from_secs(3600)).await;
        let now = api.now().await;
        timeline::forget(&api.db, now, 100).await.unwrap();
        let expired = api.get(&format!("{CHANGES}?after={start}")).await;
        assert_eq!(expired.expect(410)["code"], "cursor_expired");
        assert_eq!(page(&api, &present).await["data"], json!([]));
        // As if the tables were restored from a dump.
        let restored = installation::ActiveModel {
            id: sea_orm::Unchanged(1),
            source: sea_orm::Set(Uuid::new_v4()),
            ..Default::default()
        };
        installation::Entity::update(restored)
            .exec(&api.db)
            .await
            .unwrap();
        api.get(&format!("{CHANGES}?after={present}"))
            .await
            .expect(410);
        assert!(change::horizon(&api.db).await.unwrap() >= Position::START);
    })
    .await;
}

#[tokio::test]
async fn bad_parameters_name_the_field() {
    each_database(async |database| {
        let api = Api::on(database);
        for (query, field) in [
            ("after=soon", "after"),
            ("wait=2m", "wait"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("cursor=x", "cursor"),
        ] {
            let problem = api.get(&format!("{CHANGES}?{query}")).await.expect(422);
            assert_eq!(problem["field"], field, "{query}");
        }
        let typing_error = api.get(&format!("{CUSTOMERS}?emial=bob@example.com")).await;
        let problem = typing_error.expect(422);
        assert_eq!(
            (&problem["field"], &problem["detail"]),
            (&json!("emial"), &json!("unknown query parameter"))
        );
    })
    .await;
}
