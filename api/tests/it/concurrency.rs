//! What happens when many do the same at once.

use std::collections::HashSet;
use std::time::Duration;

use platform::test_support::{each_database, postgres, until};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Api, CUSTOMERS, Reply, path_of};

const AT_ONCE: usize = 32;

/// Runs a request for each number, all at once.
async fn all<F>(api: &Api, request: impl Fn(Api, usize) -> F) -> Vec<Reply>
where
    F: Future<Output = Reply> + Send + 'static,
{
    let mut running = JoinSet::new();
    for number in 0..AT_ONCE {
        running.spawn(request(api.clone(), number));
    }
    running.join_all().await
}

fn count(replies: &[Reply], status: u16) -> usize {
    replies
        .iter()
        .filter(|reply| reply.status == status)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creates_of_one_email_one_succeeds() {
    each_database(async |database| {
        let api = Api::on(database);
        let replies = all(&api, |api, number| async move {
            let body = json!({"email": "bob@example.com", "name": number.to_string()});
            let path = if number % 2 == 0 {
                CUSTOMERS
            } else {
                "/api/create-customer/"
            };
            api.call("POST", path, body).await
        })
        .await;
        assert_eq!(count(&replies, 201), 1);
        assert_eq!(count(&replies, 409), AT_ONCE - 1);
        assert_eq!(api.customers().await.len(), 1);
        assert_eq!(api.outbox().await.len(), 1);
    })
    .await;
}

/// Two customers that exchange their addresses at the same time wait for each other, and Postgres undoes one
/// of the two: nothing of it was done, so the client need not hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_postgres_undoes_because_of_a_deadlock_is_made_again() {
    let api = Api::on(postgres().await);
    let path = path_of(&api.created("a@example.com").await);
    let other = api.created("b@example.com").await;
    let tx = platform::database::begin(&api.db).await.unwrap();
    let free = format!(
        "update customer set email_key = 'x@example.com' where id = '{}'",
        other["id"].as_str().unwrap()
    );
    tx.execute_unprepared(&free).await.unwrap();
    let mut running = JoinSet::new();
    let (client, url) = (api.clone(), path.clone());
    running.spawn(async move {
        let body = json!({"email": "b@example.com"});
        client.call("PATCH", &url, body).await
    });
    // It has its own row by then, and waits for the address.
    until("the change waits", Duration::from_secs(30), async || {
        let waits = "select count(*) from pg_stat_activity where datname = current_database() \
            and wait_event_type = 'Lock'";
        let statement = Statement::from_string(DbBackend::Postgres, waits);
        let row = api.db.query_one_raw(statement).await.unwrap().unwrap();
        let count: i64 = row.try_get_by_index(0).unwrap();
        (count == 1).then_some(())
    })
    .await;
    let back = "select 1 from customer where email_key = 'a@example.com' for update";
    tx.execute_unprepared(back).await.unwrap();
    tx.commit().await.unwrap();
    let changed = running.join_next().await.unwrap().unwrap().expect(200);
    assert_eq!(changed["email"], "b@example.com");
    assert_eq!(changed["rev"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_of_one_state_one_wins() {
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("bob@example.com").await);
        let replies = all(&api, |api, number| {
            let path = path.clone();
            async move {
                let headers = [("if-match", "\"1\"")];
                let body = json!({"name": number.to_string()});
                api.call_with("PATCH", &path, body, &headers).await
            }
        })
        .await;
        assert_eq!(count(&replies, 200), 1);
        assert_eq!(count(&replies, 412), AT_ONCE - 1);
        assert_eq!(api.customers().await[0].rev, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_a_condition_come_one_after_the_other() {
    each_database(async |database| {
        let api = Api::on(database);
        let id_path = path_of(&api.created("bob@example.com").await);
        let replies = all(&api, |api, number| {
            let email_path = format!("{CUSTOMERS}/bob@example.com");
            let path = if number % 2 == 0 {
                id_path.clone()
            } else {
                email_path
            };
            async move {
                api.call("PATCH", &path, json!({"name": number.to_string()}))
                    .await
            }
        })
        .await;
        assert_eq!(count(&replies, 200), AT_ONCE);
        let revs: HashSet<_> = replies
            .iter()
            .map(|reply| reply.json()["rev"].as_i64())
            .collect();
        assert_eq!(revs.len(), AT_ONCE, "each change has a revision of its own");
        let outbox: Vec<_> = api.outbox().await.iter().map(|row| row.rev).collect();
        let all_revs: Vec<_> = (1..=AT_ONCE as i64 + 1).collect();
        assert_eq!(
            outbox, all_revs,
            "the order of the outbox is the order of the revisions"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_with_one_idempotency_key_have_one_effect_and_one_answer() {
    each_database(async |database| {
        let api = Api::on(database);
        let replies = all(&api, |api, _| async move {
            let headers = [("idempotency-key", "order-1")];
            let body = json!({"email": "bob@example.com"});
            api.call_with("POST", CUSTOMERS, body, &headers).await
        })
        .await;
        assert_eq!(count(&replies, 201), AT_ONCE);
        let answers: HashSet<_> = replies.iter().map(|reply| &reply.text).collect();
        assert_eq!(answers.len(), 1);
        let replayed = |reply: &&Reply| reply.headers.contains_key("idempotent-replayed");
        assert_eq!(replies.iter().filter(replayed).count(), AT_ONCE - 1);
        assert_eq!(api.customers().await.len(), 1);
        assert_eq!(api.outbox().await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_that_share_a_key_by_mistake_one_succeeds() {
    each_database(async |database| {
        let api = Api::on(database);
        let replies = all(&api, |api, number| async move {
            let headers = [("idempotency-key", "order-1")];
            let body = json!({"email": format!("c{number}@example.com")});
            api.call_with("POST", CUSTOMERS, body, &headers).await
        })
        .await;
        assert_eq!(count(&replies, 201), 1);
        assert_eq!(count(&replies, 422), AT_ONCE - 1);
        assert_eq!(api.customers().await.len(), 1);
        assert_eq!(api.outbox().await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_and_a_create_never_end_with_one_email_twice() {
    each_database(async |database| {
        let api = Api::on(database);
        let path = path_of(&api.created("al@example.com").await);
        let replies = all(&api, |api, number| {
            let path = path.clone();
            async move {
                let body = json!({"email": "bob@example.com"});
                match number % 4 {
                    0 => api.call("PATCH", &path, body).await,
                    1 => {
                        api.delete(&format!("{CUSTOMERS}/bob@example.com"), &[])
                            .await
                    }
                    _ => api.call("POST", CUSTOMERS, body).await,
                }
            }
        })
        .await;
        let known = [200, 201, 404, 409];
        assert!(
            replies.iter().all(|reply| known.contains(&reply.status)),
            "{replies:?}"
        );
        let living = api.customers().await.into_iter();
        let bobs = living.filter(|row| !row.is_deleted() && row.email_key == "bob@example.com");
        assert!(bobs.count() <= 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_of_two_emails_at_once_is_refused_or_done_and_never_a_fault() {
    each_database(async |database| {
        let api = Api::on(database);
        let al = path_of(&api.created("al@example.com").await);
        let bob = path_of(&api.created("bob@example.com").await);
        let replies = all(&api, |api, number| {
            let (path, email) = match number % 2 {
                0 => (al.clone(), "bob@example.com"),
                _ => (bob.clone(), "al@example.com"),
            };
            async move { api.call("PATCH", &path, json!({"email": email})).await }
        })
        .await;
        for reply in replies {
            match reply.status {
                200 | 409 => {}
                // A deadlock that Postgres has broken up.
                status => {
                    assert_eq!(status, 503, "{}", reply.text);
                    reply.problem(503, "unavailable");
                }
            }
        }
    })
    .await;
}
