//! The database goes away, for a moment or for longer.

use platform::test_support::{each_database, postgres};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::client::{Api, CUSTOMERS};

/// Ends every connection of the database, as a restart of the server does.
const END_ALL: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
    where datname = current_database() and pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_have_died_cost_no_request() {
    let api = Api::on(postgres().await);
    let admin = platform::database::connect(&api.database.url, 1)
        .await
        .unwrap();
    let mut number = 0;
    for round in 0..3 {
        // Fills the pool, so that many connections die.
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let api = api.clone();
            running.spawn(async move { api.get(CUSTOMERS).await.expect(200) });
        }
        running.join_all().await;
        admin.execute_unprepared(END_ALL).await.unwrap();
        for _ in 0..10 {
            number += 1;
            let email = format!("c{number}@example.com");
            let headers = [("idempotency-key", &*email)];
            let headers = if round == 1 { &headers[..] } else { &[] };
            let body = json!({"email": email});
            api.call_with("POST", CUSTOMERS, body, headers)
                .await
                .expect(201);
        }
    }
    assert_eq!(api.customers().await.len(), number);
    assert_eq!(api.outbox().await.len(), number);
    admin.close().await.unwrap();
}

#[tokio::test]
async fn a_database_that_never_answers_is_503() {
    let api = Api::on(postgres().await);
    let customer = api.created("bob@example.com").await;
    let path = crate::client::path_of(&customer);
    // Whoever changes the row waits for this transaction, as for a link that says nothing.
    let tx = platform::database::begin(&api.db).await.unwrap();
    let lock =
        "set local idle_in_transaction_session_timeout = 0; select 1 from customer for update";
    tx.execute_unprepared(lock).await.unwrap();
    let patching = api.call("PATCH", &path, json!({"name": "B"}));
    let (patched, deleted) = tokio::join!(patching, api.delete(&path, &[]));
    for reply in [patched, deleted] {
        reply.problem(503, "unavailable");
    }
    tx.rollback().await.unwrap();
    api.call("PATCH", &path, json!({"name": "D"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_database_that_stays_away_is_503_and_says_when_to_come_back() {
    each_database(async |database| {
        let api = Api::on(database);
        let customer = api.created("bob@example.com").await;
        let path = crate::client::path_of(&customer);
        api.db.clone().close().await.unwrap();
        tokio::time::pause();
        let headers = [("idempotency-key", "order-1")];
        let body = json!({"email": "al@example.com"});
        let replies = [
            api.get(CUSTOMERS).await,
            api.get(&path).await,
            api.get(&format!("{path}/sync")).await,
            api.call("POST", CUSTOMERS, body.clone()).await,
            api.call_with("POST", CUSTOMERS, body, &headers).await,
            api.call("PATCH", &path, json!({"name": "B"})).await,
            api.delete(&path, &[]).await,
        ];
        tokio::time::resume();
        for reply in replies {
            reply.problem(503, "unavailable");
            assert_eq!(reply.header("retry-after"), "1");
        }
    })
    .await;
}
