//! Pages and filters.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use platform::test_support::each_database;
use serde_json::Value;

use crate::client::{Api, CUSTOMERS, Reply};

fn emails(page: &Value) -> Vec<String> {
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| row["email"].as_str().unwrap().to_owned())
        .collect()
}

async fn list(api: &Api, query: &str) -> Reply {
    api.get(&format!("{CUSTOMERS}?{query}")).await
}

#[tokio::test]
async fn pages_are_newest_first_and_hold_everybody_once_while_others_come() {
    each_database(async |database| {
        let api = Api::on(database);
        for number in 0..7 {
            api.created(&format!("c{number}@example.com")).await;
            // Every second one is created at the same time as the one before.
            if number % 2 == 1 {
                api.later(Duration::from_secs(1)).await;
            }
        }
        let mut seen = Vec::new();
        let mut query = "limit=3".to_owned();
        let mut pages = 0;
        loop {
            let page = list(&api, &query).await.expect(200);
            seen.extend(emails(&page));
            pages += 1;
            api.clock.advance(Duration::from_secs(60));
            api.created(&format!("late{pages}@example.com")).await;
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("limit=3&cursor={cursor}"),
                None => break,
            }
        }
        let expected: Vec<_> = (0..7).rev().map(|n| format!("c{n}@example.com")).collect();
        assert_eq!(seen, expected);
        assert_eq!(pages, 3);
    })
    .await;
}

#[tokio::test]
async fn a_full_last_page_has_no_cursor_and_an_empty_list_is_a_page() {
    each_database(async |database| {
        let api = Api::on(database);
        let page = list(&api, "").await.expect(200);
        assert_eq!(emails(&page).len(), 0);
        assert_eq!(page["next_cursor"], Value::Null);
        for number in 0..21 {
            api.created(&format!("c{number}@example.com")).await;
        }
        assert_eq!(emails(&list(&api, "").await.expect(200)).len(), 20);
        let page = list(&api, "limit=21").await.expect(200);
        assert_eq!(emails(&page).len(), 21);
        assert_eq!(page["next_cursor"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn filters_are_by_email_by_time_and_by_death() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("Al@example.com").await;
        api.later(Duration::from_secs(10)).await;
        api.created("bob@example.com").await;
        api.later(Duration::from_secs(10)).await;
        api.created("cy@example.com").await;
        api.delete(&format!("{CUSTOMERS}/cy@example.com"), &[])
            .await
            .expect(200);
        let bob = api.get(&format!("{CUSTOMERS}/bob@example.com")).await;
        let bob: DateTime<FixedOffset> = {
            let created_at = bob.expect(200)["created_at"].clone();
            created_at.as_str().unwrap().parse().unwrap()
        };
        let after = format!(
            "created_after={}",
            bob.to_utc().to_rfc3339().replace('+', "%2B")
        );
        let hour = FixedOffset::east_opt(3600).unwrap();
        let before = bob.with_timezone(&hour).to_rfc3339().replace('+', "%2B");
        let before = format!("created_before={before}");
        let cases: [(&str, &[&str]); 8] = [
            ("email=AL%40EXAMPLE.com", &["Al@example.com"]),
            ("email=nobody@example.com", &[]),
            ("email=cy@example.com", &[]),
            ("deleted=true", &["cy@example.com"]),
            ("deleted=true&email=cy@example.com", &["cy@example.com"]),
            ("deleted=false", &["bob@example.com", "Al@example.com"]),
            (&after, &["bob@example.com"]),
            (&before, &["Al@example.com"]),
        ];
        for (query, expected) in cases {
            assert_eq!(
                emails(&list(&api, query).await.expect(200)),
                expected,
                "{query}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_parameter_that_can_not_be_read_is_named() {
    each_database(async |database| {
        let api = Api::on(database);
        let cases = [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("limit=", "limit"),
            ("limit=99999999999999999999", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=__________________________8", "cursor"),
            ("email=bob", "email"),
            ("email=", "email"),
            ("created_after=yesterday", "created_after"),
            ("created_before=2026-02-30T00:00:00Z", "created_before"),
            ("created_after=2026-01-31", "created_after"),
            ("created_after=-0002-01-01T00:00:00Z", "created_after"),
            ("created_before=%2B10001-01-01T00:00:00Z", "created_before"),
            ("created_before=9999999-01-01T00:00:00Z", "created_before"),
            ("deleted=perhaps", "deleted"),
        ];
        for (query, field) in cases {
            let refused = list(&api, query).await;
            assert_eq!(refused.fault(422, "validation_failed"), field, "{query}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_time_of_rfc_3339_is_a_filter() {
    each_database(async |database| {
        let api = Api::on(database);
        api.created("bob@example.com").await;
        let times = [
            ("0000-01-01T00:00:00%2B23:59", true),
            ("0001-01-01T00:00:00Z", true),
            ("1969-12-31T23:59:59.999999Z", true),
            ("1996-12-19T16:39:57-08:00", true),
            ("9999-12-31T23:59:60Z", false),
            ("9999-12-31T23:59:59.999999999-23:59", false),
        ];
        for (time, is_before) in times {
            let after = list(&api, &format!("created_after={time}")).await;
            let before = list(&api, &format!("created_before={time}")).await;
            let [after, before] = [after, before].map(|page| emails(&page.expect(200)).len());
            assert_eq!(
                (after, before),
                (is_before.into(), (!is_before).into()),
                "{time}"
            );
        }
    })
    .await;
}
