//! The second migration, and those after it, on a database that is at work.

use migration::{Migrator, MigratorTrait};
use platform::test_support::each_database;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

const ID: &str = "0199d8a2-6f3e-7c11-9a55-0d6f1f0f4a11";

/// A push under way, a parked reason, an outbox row, an open conflict and a customer without a row.
async fn at_work(db: &DatabaseConnection) {
    let id = match db.get_database_backend() {
        sea_orm::DbBackend::Sqlite => format!("x'{}'", ID.replace('-', "")),
        _ => format!("'{ID}'"),
    };
    let at = "'2026-01-02 03:04:05.678901+00:00'";
    for insert in [
        format!(
            "INSERT INTO customer (id, email, email_key, rev, created_at, updated_at) \
             VALUES ({id}, 'a@x.io', 'a@x.io', 3, {at}, {at})"
        ),
        format!(
            "INSERT INTO outbox (customer_id, rev, kind, payload, created_at) \
             VALUES ({id}, 3, 'updated', '{{}}', {at})"
        ),
        format!(
            "INSERT INTO stripe_link (customer_id, stripe_id, synced_rev, pushed_rev, request_body, request_key, \
             request_started_at, push_rev, push_token, push_started_at, attempts, next_attempt_at, parked_reason, \
             parked_rev, parked_at, created_at, updated_at) VALUES ({id}, 'cus_1', 2, 2, 'name=a', {id}, {at}, 3, \
             {id}, {at}, 1, {at}, 'email_taken', 2, {at}, {at}, {at})"
        ),
        format!(
            "INSERT INTO conflict (id, customer_id, field, database_value, stripe_value, winner, created_at) \
             VALUES ({id}, {id}, 'name', 'ours', 'theirs', 'open', {at})"
        ),
        format!(
            "INSERT INTO unmatched (stripe_id, reason, created_at) VALUES ('cus_2', 'no_email', {at})"
        ),
    ] {
        db.execute_unprepared(&insert).await.unwrap();
    }
}

async fn count(db: &DatabaseConnection, query: &str) -> i64 {
    let statement = Statement::from_string(
        db.get_database_backend(),
        format!("SELECT count(*) AS n FROM {query}"),
    );
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// What was there before is there still.
async fn assert_all_there(db: &DatabaseConnection) {
    for query in [
        "customer WHERE rev = 3",
        "outbox WHERE rev = 3",
        "stripe_link WHERE push_rev = 3 AND push_token IS NOT NULL AND request_body = 'name=a' \
         AND parked_reason = 'email_taken' AND parked_at = updated_at",
        "conflict WHERE stripe_value = 'theirs' AND resolved_at IS NULL",
        "unmatched WHERE reason = 'no_email'",
    ] {
        assert_eq!(count(db, query).await, 1, "{query}");
    }
}

/// A59: with operations in flight.
#[tokio::test]
async fn it_goes_up_and_down_under_rows_that_are_at_work_and_loses_none() {
    each_database(async |database| {
        let db = &database.connection.connection();
        let later = u32::try_from(Migrator::migrations().len() - 1).unwrap();
        Migrator::down(db, Some(later)).await.unwrap();
        at_work(db).await;
        for _ in 0..2 {
            Migrator::up(db, None).await.unwrap();
            assert_all_there(db).await;
            let nothing_decided = "stripe_link, conflict, unmatched WHERE parked_dismissed_at IS NULL \
                AND parked_stripe_value IS NULL AND decided_at IS NULL AND conflict.dismissed_at IS NULL \
                AND unmatched.recheck_at IS NULL AND link_to IS NULL";
            assert_eq!(count(db, nothing_decided).await, 1);
            assert_eq!(count(db, "timeline").await, 0);
            Migrator::down(db, Some(later)).await.unwrap();
            assert_all_there(db).await;
        }
        let pending = Migrator::get_pending_migrations(db).await.unwrap();
        assert_eq!(pending.len() as u64, u64::from(later));
        Migrator::up(db, None).await.unwrap();
        assert_all_there(db).await;
    })
    .await;
}

#[tokio::test]
async fn everything_can_be_taken_back_and_made_again() {
    each_database(async |database| {
        let db = &database.connection.connection();
        Migrator::down(db, None).await.unwrap();
        Migrator::up(db, None).await.unwrap();
        assert_eq!(count(db, "customer").await, 0);
    })
    .await;
}
