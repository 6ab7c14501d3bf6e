//! Customers to a file, and back.

use super::*;

#[tokio::test]
async fn what_was_exported_changes_nothing_when_it_is_imported() {
    for database in [test_support::sqlite().await, test_support::postgres().await] {
        let pair = Pair::on(database).await;
        let lines = [
            r#"{"email": "ada@x.io", "name": "Ada, \"the first\"", "phone": "+1 5", "description": "one\r\ntwo\n\nthree"}"#,
            r#"{"email": "grace@x.io", "name": "=1+1"}"#,
            r#"{"email": "Joan@x.io", "name": "Жанна 🦀", "description": ",", "external_id": "7"}"#,
        ];
        let file = pair.file("a.jsonl", lines.join("\n"));
        pair.run(&["import", &file]).await.ended(0);
        let rows = pair.rows().await;
        for ending in ["csv", "jsonl"] {
            let path = pair.path("all").with_extension(ending);
            let path = path.display().to_string();
            let ran = pair.run(&["export", &path]).await;
            assert!(ran.ended(0).stderr.contains("3 customers exported"));
            let ran = pair.run(&["import", &path]).await;
            let expected = "0 created, 0 updated, 3 unchanged, 0 refused";
            assert!(ran.ended(0).stdout.starts_with(expected), "{}", ran.stdout);
            assert_eq!(pair.rows().await, rows);
            // And into another database the same values come.
            let other = Pair::new().await;
            other.run(&["import", &path]).await.ended(0);
            let values = |rows: Vec<customer::Model>| {
                let rows = rows.into_iter();
                rows.map(|row| (row.fields(), row.external_id))
                    .collect::<Vec<_>>()
            };
            assert_eq!(values(other.rows().await), values(rows.clone()));
        }
    }
}

#[tokio::test]
async fn every_living_customer_is_written_once_in_the_order_of_ids_to_stdout_too() {
    let pair = Pair::new().await;
    let line = |n| format!("{{\"email\": \"{n}@x.io\"}}\n");
    let text: String = (0..2_500).map(line).collect();
    let file = pair.file("a.jsonl", text);
    pair.run(&["import", &file]).await.ended(0);
    let rows = pair.rows().await;
    let tx = database::begin(&pair.database.connection).await.unwrap();
    let now = chrono::Utc::now();
    write::delete(&tx, &rows[0], now, None).await.unwrap();
    tx.commit().await.unwrap();
    let ran = pair.run(&["export", "--format", "jsonl"]).await;
    let ids: Vec<String> = ran
        .ended(0)
        .stdout
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected: Vec<String> = rows[1..].iter().map(|row| row.id.to_string()).collect();
    assert_eq!(ids, expected);
    let ran = pair.run(&["export"]).await;
    let names = "email,name,phone,description,external_id,id,stripe_id,rev,updated_at\n";
    assert!(ran.ended(0).stdout.starts_with(names));
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_its_owners_and_one_that_fails_leaves_the_older_one_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::new().await;
    pair.create("ada@x.io", None).await;
    let path = pair.file("all.csv", "as it was");
    let mut command = pair.command(&["export", &path]);
    command.env("DATABASE_URL", "postgres://127.0.0.1:1/none");
    run(command).await.ended(1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "as it was");
    pair.run(&["export", &path]).await.ended(0);
    assert!(std::fs::read_to_string(&path).unwrap().contains("ada@x.io"));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
