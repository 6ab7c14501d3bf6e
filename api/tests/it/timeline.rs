//! What happened to a customer.

use std::time::Duration;

use entity::timeline::{self, Detail, Step};
use platform::database::begin;
use platform::test_support::each_database;
use serde_json::{Value, json};

use crate::client::{Api, Publisher, path_of};

async fn note(api: &Api, customer: &Value, step: Step, detail: Detail) -> Value {
    let now = api.now().await;
    let id = customer["id"].as_str().unwrap().parse().unwrap();
    let tx = begin(&api.db).await.unwrap();
    timeline::note(&tx, (id, Some(1)), step, detail, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    json!(now)
}

fn steps(page: &Value) -> Vec<(String, i64)> {
    let entries = page["data"].as_array().unwrap().iter();
    let told = entries.map(|entry| {
        let step = entry["step"].as_str().unwrap().to_owned();
        (step, entry["rev"].as_i64().unwrap())
    });
    told.collect()
}

fn told(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    let owned = expected
        .iter()
        .map(|(step, rev)| ((*step).to_owned(), *rev));
    owned.collect()
}

#[tokio::test]
async fn a_commit_is_told_at_once_and_stays_when_it_is_published() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let path = format!("{}/timeline", path_of(&customer));
        let fresh = api.get(&path).await.expect(200);
        let expected = json!([{
            "at": customer["created_at"], "step": "commit", "rev": 1, "kind": "created", "result": null,
            "reason": null, "fields": ["email", "name"], "request_id": null, "attempt": null, "origin": "application",
        }]);
        assert_eq!(fresh, json!({"data": expected, "next_cursor": null}));
        api.created("al@example.com").await;
        // The statement's time on Postgres is the server's.
        Publisher::new(&api).await.publish(&api).await;
        let published = api.get(&path).await.expect(200);
        assert_eq!(published["data"][0], expected[0]);
        assert_eq!(steps(&published), told(&[("commit", 1), ("publish", 1)]));
        let by_email = api.get("/api/v1/customers/BOB@example.com/timeline").await;
        assert_eq!(by_email.expect(200), published);
    })
    .await;
}

#[tokio::test]
async fn pages_hold_every_step_once_while_the_relay_moves_them() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let mut expected = vec![("commit", 1)];
        for (step, name) in [
            (Step::Push, "push"),
            (Step::Outcome, "outcome"),
            (Step::Apply, "apply"),
        ] {
            // Two at the same time, and one later.
            note(&api, &customer, step, Detail::default()).await;
            expected.push((name, 1));
            if step == Step::Outcome {
                api.later(Duration::from_secs(1)).await;
            }
        }
        for rev in 2..6 {
            api.later(Duration::from_secs(1)).await;
            let edit = json!({"name": format!("name {rev}")});
            api.call("PATCH", &path_of(&customer), edit)
                .await
                .expect(200);
            expected.push(("commit", rev));
        }
        let path = format!("{}/timeline?limit=2", path_of(&customer));
        let (mut seen, mut query) = (Vec::new(), path.clone());
        loop {
            let page = api.get(&query).await.expect(200);
            seen.extend(steps(&page));
            if seen.len() == 4 {
                Publisher::new(&api).await.publish(&api).await;
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("{path}&cursor={cursor}"),
                None => break,
            }
        }
        // What was published meanwhile is told where it belongs, which is behind the commits on Postgres' clock.
        seen.retain(|(step, _)| step != "publish");
        assert_eq!(seen, told(&expected));
    })
    .await;
}

#[tokio::test]
async fn details_are_codes_and_names_of_fields() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let detail = Detail {
            origin: None,
            kind: Some("update".to_owned()),
            result: Some("parked".to_owned()),
            reason: Some("email_invalid".to_owned()),
            fields: vec![entity::fields::Field::Email.into()],
            request_id: Some("req_1".to_owned()),
            attempt: Some(2),
        };
        api.later(Duration::from_secs(1)).await;
        let at = note(&api, &customer, Step::Outcome, detail).await;
        let path = format!("{}/timeline", path_of(&customer));
        let page = api.get(&path).await.expect(200);
        let expected = json!({
            "at": at, "step": "outcome", "rev": 1, "kind": "update", "result": "parked",
            "reason": "email_invalid", "fields": ["email"], "request_id": "req_1", "attempt": 2,
            "origin": null,
        });
        assert_eq!(page["data"][1], expected);
        assert!(!page.to_string().contains("bob@example.com"));
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_has_its_story_by_id_and_nobody_has_none() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        api.later(Duration::from_secs(1)).await;
        api.delete(&path_of(&customer), &[]).await.expect(200);
        let path = format!("{}/timeline", path_of(&customer));
        let page = api.get(&path).await.expect(200);
        assert_eq!(steps(&page), told(&[("commit", 1), ("commit", 2)]));
        assert_eq!(page["data"][1]["kind"], "deleted");
        for key in [
            "bob@example.com",
            "x",
            "0199d8a2-6f3e-7c11-9a55-0d6f1f0f4a11",
        ] {
            let path = format!("/api/v1/customers/{key}/timeline");
            api.get(&path).await.problem(404, "not_found");
        }
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("cursor=x", "cursor"),
        ] {
            let refused = api.get(&format!("{path}?{query}")).await;
            assert_eq!(refused.fault(422, "validation_failed"), field);
        }
    })
    .await;
}
