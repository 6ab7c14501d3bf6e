//! The database goes away, for a moment or for longer.

use std::time::Duration;

use platform::test_support::{each_database, postgres, sqlite, until};
use sea_orm::{ConnectionTrait, EntityTrait};
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

/// Sets what every connection of the pool may use of the disk, in pages of the database.
async fn limit_disk(api: &Api, pages: u32) {
    let connection = api.db.connection();
    let pool = connection.get_sqlite_connection_pool();
    let mut held = Vec::new();
    while held.len() < pool.options().get_max_connections() as usize {
        held.push(pool.acquire().await.unwrap());
    }
    for connection in &mut held {
        let pragma = format!("pragma max_page_count = {pages}");
        sea_orm::sqlx::query(sea_orm::sqlx::AssertSqlSafe(pragma))
            .execute(&mut **connection)
            .await
            .unwrap();
    }
}

/// A61
#[tokio::test(flavor = "multi_thread")]
async fn full_sqlite_disk_is_503_and_every_201_survives_it() {
    let api = Api::on(sqlite().await);
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for pages in [1, 1_000_000] {
        limit_disk(&api, pages).await;
        let (mut created, mut refused) = (0, 0);
        while created + refused < 60 {
            number += 1;
            let email = format!("c{number}@example.com");
            let body = json!({"email": email, "name": "x".repeat(200)});
            let headers = [("idempotency-key", &*email)];
            let headers = if number % 2 == 0 { &headers[..] } else { &[] };
            let reply = api.call_with("POST", CUSTOMERS, body, headers).await;
            if reply.status == 201 {
                created += 1;
                acknowledged.push(email);
            } else {
                refused += 1;
                reply.problem(503, "unavailable");
                assert_eq!(reply.header("retry-after"), "1");
            }
        }
        // Connections that were replaced meanwhile have no limit.
        assert!(pages > 1 || refused > 0, "the disk was never full");
        assert!(pages == 1 || refused == 0, "{refused} were refused");
    }
    // As another process reads them.
    let other = platform::database::connect(&api.database.url, 1)
        .await
        .unwrap();
    let rows = entity::customer::Entity::find().all(&other).await.unwrap();
    assert_eq!(rows.len(), acknowledged.len());
}

#[tokio::test]
async fn read_only_postgres_is_503_until_it_takes_writes_again() {
    let api = Api::on(postgres().await);
    let admin = platform::database::connect(&api.database.url, 1)
        .await
        .unwrap();
    let name = api.database.url.expose().rsplit('/').next().unwrap();
    let set = format!("alter database {name} set default_transaction_read_only");
    admin
        .execute_unprepared(&format!("{set} = on"))
        .await
        .unwrap();
    admin.execute_unprepared(END_ALL).await.unwrap();
    let create = async || {
        let body = json!({"email": "bob@example.com"});
        api.call("POST", CUSTOMERS, body).await
    };
    create().await.problem(503, "unavailable");
    // The sessions are old by now; the next writes must not use them.
    let back = format!("begin; set transaction read write; {set} = off; commit");
    admin.execute_unprepared(&back).await.unwrap();
    until("a write succeeds", Duration::from_secs(10), async || {
        let reply = create().await;
        (reply.status == 201).then_some(())
    })
    .await;
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
