//! How it goes as a whole, from what the services have written.

use chrono::{DateTime, Utc};
use entity::downsync_state;
use entity::parked::Reason;
use entity::stripe_event::{self, Event, Source};
use entity::stripe_read::{self, Kind};
use platform::database::Database;
use platform::test_support::{each_database, sqlite};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, EntityTrait};
use serde_json::{Value, json};

use crate::attention::link;
use crate::client::Api;

async fn status(api: &Api) -> Value {
    api.get("/api/v1/status").await.expect(200)
}

async fn now(api: &Api) -> DateTime<Utc> {
    platform::database::now(&api.db, &api.clock).await.unwrap()
}

async fn receive(api: &Api, id: &str, source: Source) {
    let event = Event {
        id: id.to_owned(),
        kind: "customer.updated".to_owned(),
        stripe_id: "cus_1".to_owned(),
        created: 5,
        copy: None,
        replaced: None,
    };
    let at = now(api).await;
    stripe_event::receive(&api.db, &[event], source, at)
        .await
        .unwrap();
}

async fn state(api: &Api, budget: Option<i64>) {
    let state = downsync_state::ActiveModel {
        id: Set(downsync_state::ID),
        events_cursor: Set(Some(1_700_000_000)),
        pass_completed_at: Set(Some(now(api).await)),
        pass_counts: Set(Some(
            json!({"pages": 3, "customers": 250, "drifts": 2, "deletions": 1, "missed": 0}),
        )),
        poll_interval_ms: Set(Some(600_000)),
        full_pass_interval_ms: Set(Some(3_600_000)),
        read_budget: Set(budget),
        updated_at: Set(now(api).await),
        ..Default::default()
    };
    let storing = downsync_state::Entity::insert(state);
    storing.exec_without_returning(&api.db).await.unwrap();
}

async fn reads(db: &Database, counts: &[(Kind, u64)], at: DateTime<Utc>) {
    let tx = platform::database::begin(db).await.unwrap();
    stripe_read::add(&tx, counts, at).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_new_installation_has_nothing_to_tell() {
    each_database(async |database| {
        let api = Api::on(database);
        let shown = status(&api).await;
        let nothing = json!({"count": 0, "oldest_age_seconds": null});
        assert_eq!((&shown["outbox"], &shown["inbox"]), (&nothing, &nothing));
        assert_eq!(
            shown["attention"],
            json!({"parked": 0, "conflicts": 0, "unmatched": 0, "refused_deletions": 0})
        );
        assert_eq!(shown["events"]["cursor"], Value::Null);
        assert_eq!(shown["full_pass"]["completed_at"], Value::Null);
        assert_eq!(
            (&shown["reads"]["used"], &shown["reads"]["budget"]),
            (&json!(0), &Value::Null)
        );
        assert_eq!(shown["reads"]["warning"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn what_is_on_its_way_and_what_waits_is_counted() {
    each_database(async |database| {
        let api = Api::on(database);
        for email in ["a@x.io", "b@x.io"] {
            api.created(email).await;
        }
        receive(&api, "evt_1", Source::Poll).await;
        let before = status(&api).await;
        assert_eq!(before["events"]["last_webhook_at"], Value::Null);
        receive(&api, "evt_2", Source::Webhook).await;
        state(&api, None).await;
        let at = now(&api).await;
        let rows = api.customers().await;
        // The second was edited since.
        for (row, parked_rev) in rows.iter().zip([1, 0]) {
            link(&api, row.id, |link| {
                link.parked_reason = Set(Some(Reason::DeletionRefused.as_str().to_owned()));
                link.parked_rev = Set(Some(parked_rev));
                link.parked_at = Set(Some(at));
            })
            .await;
        }

        let shown = status(&api).await;
        assert_eq!(
            (&shown["outbox"]["count"], &shown["inbox"]["count"]),
            (&json!(2), &json!(2))
        );
        assert!(shown["outbox"]["oldest_age_seconds"].as_f64().unwrap() >= 0.0);
        assert_eq!(
            shown["attention"],
            json!({"parked": 1, "conflicts": 0, "unmatched": 0, "refused_deletions": 2})
        );
        let events = &shown["events"];
        assert_eq!(events["cursor"], "2023-11-14T22:13:20Z");
        assert_eq!(events["poll_interval_seconds"], 600.0);
        assert!(events["last_webhook_at"].is_string());
        let pass = &shown["full_pass"];
        assert_eq!(
            (&pass["pages"], &pass["customers"], &pass["drifts"]),
            (&json!(3), &json!(250), &json!(2))
        );
        assert_eq!(pass["interval_seconds"], 3600.0);
    })
    .await;
}

#[tokio::test]
async fn the_reads_of_the_month_add_up_and_are_weighed_against_the_budget() {
    each_database(async |database| {
        let api = Api::on(database);
        let at = now(&api).await;
        reads(&api.db, &[(Kind::Events, 100), (Kind::Lookup, 4)], at).await;
        reads(&api.db, &[(Kind::Events, 23)], at).await;
        // Another month's.
        reads(&api.db, &[(Kind::List, 5_000)], at - chrono::Days::new(40)).await;
        state(&api, Some(100)).await;
        let reads = status(&api).await["reads"].clone();
        assert_eq!(reads["month"], at.format("%Y-%m").to_string());
        assert_eq!(
            (&reads["budget"], &reads["used"]),
            (&json!(100), &json!(127))
        );
        let kinds = &reads["used_by_kind"];
        assert_eq!(
            (&kinds["events"], &kinds["lookup"], &kinds["list"]),
            (&json!(123), &json!(4), &json!(0))
        );
        assert!(reads["projected"].as_i64().unwrap() >= 127);
        let warning = reads["warning"].as_str().unwrap();
        assert!(
            warning.contains("127") && warning.contains("STRIPE_READ_BUDGET"),
            "{warning}"
        );
        let enough = downsync_state::ActiveModel {
            id: Set(downsync_state::ID),
            read_budget: Set(Some(i64::MAX)),
            ..Default::default()
        };
        enough.update(&api.db).await.unwrap();
        assert_eq!(status(&api).await["reads"]["warning"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn the_status_is_for_those_who_have_a_key() {
    let api = Api::with_keys(sqlite().await, "0123456789abcdef0123456789abcdef");
    assert_eq!(api.get("/api/v1/status").await.status, 401);
}
