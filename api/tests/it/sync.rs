//! How far a customer is on its way to Stripe.

use std::time::{Duration, Instant};

use entity::conflict::{self, Winner};
use entity::stripe_link::{self, ActiveModel};
use entity::timeline;
use platform::database::{begin, now};
use platform::heartbeat::{self, Report, Role};
use platform::test_support::each_database;
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, EntityTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Api, path_of};

fn id_of(customer: &Value) -> Uuid {
    customer["id"].as_str().unwrap().parse().unwrap()
}

/// A link as the worker would have written it.
async fn link(api: &Api, id: Uuid, change: impl FnOnce(&mut ActiveModel)) {
    stripe_link::Entity::delete_by_id(id)
        .exec(&api.db)
        .await
        .unwrap();
    let now = api.now().await;
    let mut row = ActiveModel {
        customer_id: Set(id),
        stripe_id: Set(Some("cus_1".to_owned())),
        synced_rev: Set(0),
        attempts: Set(0),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    change(&mut row);
    stripe_link::Entity::insert(row)
        .exec_without_returning(&api.db)
        .await
        .unwrap();
}

#[tokio::test]
async fn it_is_pending_until_the_worker_says_otherwise() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let (id, path) = (id_of(&customer), format!("{}/sync", path_of(&customer)));
        let fresh = api.get(&path).await.expect(200);
        let expected = json!({
            "status": "pending", "customer_id": customer["id"], "customer_rev": 1, "synced_rev": 0,
            "stripe_id": null, "reason": "no_live_relay",
            "detail": "no relay has run on this database yet: start outbox-relay; \
                no worker has run on this database yet: start sync-worker",
            "since": customer["updated_at"],
            "next_step": "Start outbox-relay, or find out from its log why it stopped.",
            "request_id": null, "attempts": 0, "next_attempt_at": null, "conflicts": [],
        });
        assert_eq!(fresh, expected);
        link(&api, id, |row| row.synced_rev = Set(1)).await;
        let synced = api
            .get("/api/v1/customers/BOB@example.com/sync")
            .await
            .expect(200);
        assert_eq!(
            (&synced["status"], &synced["stripe_id"]),
            (&json!("synced"), &json!("cus_1"))
        );
        api.call("PATCH", &path_of(&customer), json!({"name": "B"}))
            .await
            .expect(200);
        let state = api.get(&path).await.expect(200);
        assert_eq!(
            (&state["status"], &state["customer_rev"]),
            (&json!("pending"), &json!(2))
        );
    })
    .await;
}

#[tokio::test]
async fn a_parked_one_says_why_until_it_is_edited() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let path = format!("{}/sync", path_of(&customer));
        link(&api, id_of(&customer), |row| {
            row.parked_reason = Set(Some("refused".to_owned()));
            row.parked_detail = Set(Some("Invalid phone".to_owned()));
            row.parked_request_id = Set(Some("req_1".to_owned()));
            row.parked_rev = Set(Some(1));
            row.attempts = Set(3);
        })
        .await;
        let parked = api.get(&format!("{path}?wait=30s")).await.expect(200);
        assert_eq!(parked["status"], "parked");
        assert_eq!(parked["reason"], "refused");
        assert_eq!(parked["detail"], "Invalid phone");
        assert_eq!(parked["request_id"], "req_1");
        assert_eq!(parked["attempts"], 3);
        api.call("PATCH", &path_of(&customer), json!({"phone": "1"}))
            .await
            .expect(200);
        let state = api.get(&path).await.expect(200);
        assert_eq!(
            (&state["status"], &state["reason"]),
            (&json!("pending"), &json!("no_live_relay"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_conflict_that_waits_for_a_person_is_shown_with_its_fields() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let id = id_of(&customer);
        link(&api, id, |row| row.synced_rev = Set(1)).await;
        let mut ids = Vec::new();
        for field in ["phone", "name", "name"] {
            let row = conflict::ActiveModel {
                id: Set(Uuid::now_v7()),
                customer_id: Set(id),
                field: Set(field.to_owned()),
                winner: Set(Winner::Open),
                created_at: Set(api.now().await),
                ..Default::default()
            };
            ids.push(row.insert(&api.db).await.unwrap().id);
        }
        let path = format!("{}/sync", path_of(&customer));
        let state = api.get(&path).await.expect(200);
        assert_eq!(
            (&state["status"], &state["conflicts"]),
            (&json!("conflict"), &json!(["name", "phone"]))
        );
        for id in ids {
            let resolved = conflict::ActiveModel {
                id: Set(id),
                resolved_at: Set(Some(api.now().await)),
                ..Default::default()
            };
            resolved.update(&api.db).await.unwrap();
        }
        assert_eq!(api.get(&path).await.expect(200)["status"], "synced");
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_has_its_state_by_id() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        api.delete(&path_of(&customer), &[]).await.expect(200);
        let path = format!("{}/sync", path_of(&customer));
        assert_eq!(api.get(&path).await.expect(200)["customer_rev"], 2);
        link(&api, id_of(&customer), |row| {
            row.synced_rev = Set(2);
            row.detached_at = Set(Some(chrono::Utc::now()));
        })
        .await;
        assert_eq!(api.get(&path).await.expect(200)["status"], "detached");
        api.get("/api/v1/customers/bob@example.com/sync")
            .await
            .problem(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_wait_ends_with_the_sync_or_with_its_time() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let path = format!("{}/sync", path_of(&customer));
        let started = Instant::now();
        let state = api.get(&format!("{path}?wait=200ms")).await.expect(200);
        assert_eq!(state["status"], "pending");
        assert!(started.elapsed() >= Duration::from_millis(200));
        let long = format!("{path}?wait=60s");
        let (waited, ()) = tokio::join!(
            api.get(&long),
            link(&api, id_of(&customer), |row| row.synced_rev = Set(1)),
        );
        assert_eq!(waited.expect(200)["status"], "synced");
        assert!(started.elapsed() < Duration::from_secs(30));
        for bad in ["wait=61s", "wait=soon", "wait=", "wait=-1s", "wait=10"] {
            let refused = api.get(&format!("{path}?{bad}")).await;
            assert_eq!(refused.fault(422, "validation_failed"), "wait", "{bad}");
        }
    })
    .await;
}

/// A process that is alive, with what it reports.
async fn alive(api: &Api, role: Role, problems: Vec<heartbeat::Problem>) {
    let at = now(&api.db, &api.clock).await.unwrap();
    let process = (Uuid::new_v4(), role);
    heartbeat::beat(&api.db, process, Report { problems }, at)
        .await
        .unwrap();
}

#[tokio::test]
async fn pending_customer_is_explained_by_heartbeats() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let (id, path) = (id_of(&customer), format!("{}/sync", path_of(&customer)));
        let reason = async || api.get(&path).await.expect(200)["reason"].clone();
        assert_eq!(reason().await, "no_live_relay");
        alive(&api, Role::Relay, Vec::new()).await;
        assert_eq!(reason().await, "no_live_worker");
        let at = now(&api.db, &api.clock).await.unwrap();
        let refused = heartbeat::Problem {
            component: "upsync".to_owned(),
            code: Some("key_refused".to_owned()),
            detail: "Stripe refuses STRIPE_SECRET_KEY".to_owned(),
            since: at,
            next_attempt_at: Some(at + Duration::from_secs(600)),
        };
        alive(&api, Role::Worker, vec![refused]).await;
        let state = api.get(&path).await.expect(200);
        assert_eq!(state["reason"], "key_refused");
        assert_eq!(state["detail"], "Stripe refuses STRIPE_SECRET_KEY");
        assert!(
            state["next_step"]
                .as_str()
                .unwrap()
                .contains("restart sync-worker")
        );
        assert!(state["since"].is_string() && state["next_attempt_at"].is_string());
        alive(&api, Role::Worker, Vec::new()).await;
        assert_eq!(reason().await, "publishing");
        entity::outbox::Entity::delete_many()
            .exec(&api.db)
            .await
            .unwrap();
        assert_eq!(reason().await, "queued");
        link(&api, id, |row| {
            row.attempts = Set(1);
            row.next_attempt_at = Set(Some(at + Duration::from_secs(5)));
        })
        .await;
        let detail = timeline::Detail {
            result: Some("later".to_owned()),
            reason: Some("http_502".to_owned()),
            ..timeline::Detail::default()
        };
        let tx = begin(&api.db).await.unwrap();
        timeline::note(&tx, (id, Some(1)), timeline::Step::Outcome, detail, at)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let state = api.get(&path).await.expect(200);
        assert_eq!(state["reason"], "stripe_unavailable");
        assert_eq!(state["attempts"], 1);
        assert!(state["next_attempt_at"].is_string());
    })
    .await;
}
