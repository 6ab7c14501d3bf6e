//! Customers from a file, each line for itself.

use std::io::Write;
use std::process::Stdio;

use entity::outbox;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, PaginatorTrait, QueryFilter};

use super::*;
use crate::client::until;

async fn outbox(pair: &Pair) -> u64 {
    let db = &pair.database.connection;
    outbox::Entity::find().count(db).await.unwrap()
}

fn values(row: &customer::Model) -> [Option<&str>; 4] {
    [
        Some(&row.email),
        row.name.as_deref(),
        row.phone.as_deref(),
        row.description.as_deref(),
    ]
}

#[tokio::test]
async fn each_line_creates_updates_the_given_fields_or_changes_nothing() {
    for database in [test_support::sqlite().await, test_support::postgres().await] {
        let pair = Pair::on(database).await;
        let csv = "\u{feff}email,name,phone\r\nAda@x.io,Ada,1\r\ngrace@x.io,Grace,\r\n";
        let file = pair.file("a.csv", csv);
        let ran = pair.run(&["import", &file]).await;
        let summary = "2 created, 0 updated, 0 unchanged, 0 refused.\n";
        assert_eq!(ran.ended(0).stdout, summary);
        assert_eq!(outbox(&pair).await, 2);
        let lines = [
            r#"{"email": "ada@x.io", "name": null, "description": "first"}"#,
            r#"{"email": "grace@x.io", "name": "Grace"}"#,
            r#"{"email": "ada@x.io", "phone": "2"}"#,
        ];
        let file = pair.file("b.jsonl", lines.join("\n"));
        let ran = pair.run(&["import", &file]).await;
        let summary = "0 created, 2 updated, 1 unchanged, 0 refused; 1 had the e-mail of a line before and were applied after it.\n";
        assert_eq!(ran.ended(0).stdout, summary);
        let repeated = "line 3: has the e-mail of line 1";
        assert!(ran.stderr.lines().any(|line| line == repeated));
        let rows = pair.rows().await;
        let ada = [Some("Ada@x.io"), None, Some("2"), Some("first")];
        assert_eq!(values(&rows[0]), ada);
        assert_eq!(rows[0].rev, 3);
        let grace = [Some("grace@x.io"), Some("Grace"), None, None];
        assert_eq!((values(&rows[1]), rows[1].rev), (grace, 1));
        // As many as there were changes: each goes to Stripe.
        assert_eq!(outbox(&pair).await, 4);
    }
}

#[tokio::test]
async fn a_refused_line_is_named_by_its_number_and_takes_no_other_with_it() {
    let pair = Pair::new().await;
    let mut csv = b"email,name\nada@x.io,Ada\nAda,no address\n".to_vec();
    csv.extend(b"grace@x.io,\xff\nx@x.io,\"broken\njoan@x.io,Joan\n,Ada\n");
    csv.extend(format!("long@x.io,{}\n", "l".repeat(300)).into_bytes());
    for _ in 0..30 {
        csv.extend(b"@,Ada\n");
    }
    csv.extend(b"last@x.io,Last\n");
    let file = pair.file("a.csv", &csv);
    let errors = pair.path("errors.txt");
    let ran = pair
        .run(&["import", &file, "--errors", &errors.display().to_string()])
        .await;
    let Ran { stdout, stderr, .. } = ran.ended(2);
    assert_eq!(stdout, "3 created, 0 updated, 0 unchanged, 35 refused.\n");
    let told: Vec<&str> = stderr.lines().filter(|l| l.starts_with("line ")).collect();
    assert_eq!(told.len(), 20);
    assert_eq!(
        told[..4],
        [
            "line 3: email must have exactly one @ with text on both sides",
            "line 4: name is not UTF-8; if a Windows program wrote the file, use --encoding windows-1252",
            "line 5: has a quote that is not closed within 65536 bytes",
            "line 7: email must not be empty",
        ]
    );
    assert_eq!(told[4], "line 8: name must have at most 256 characters");
    assert!(stderr.contains("and 15 more refused lines"), "{stderr}");
    let all = std::fs::read_to_string(errors).unwrap();
    assert_eq!(all.lines().count(), 35);
    let names: Vec<_> = pair.rows().await.into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["Ada", "Joan", "Last"].map(|n| Some(n.to_owned())));
}

#[tokio::test]
async fn what_is_no_file_of_customers_is_an_error_and_nothing_is_written() {
    let pair = Pair::new().await;
    for (name, text, expected) in [
        ("a.txt", "", "say which it is by --format"),
        (
            "a.csv",
            "ada@x.io,Ada\n",
            "the first line names no column email; separated by commas it has 2 columns",
        ),
        ("b.csv", "", "the file is empty"),
    ] {
        let ran = pair.run(&["import", &pair.file(name, text)]).await;
        assert!(ran.ended(1).stderr.contains(expected), "{}", ran.stderr);
    }
    assert_eq!(pair.rows().await, []);
}

#[tokio::test]
async fn files_of_other_programs_are_read() {
    let utf16: Vec<u8> = "\u{feff}email\tname\r\nutf16@x.io\tJosé\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let files: [(&[u8], &[&str], &str, &str); 6] = [
        (&utf16, &[], "utf16@x.io", "José"),
        (
            b"sep=;\r\nemail;name\r\ncp1252@x.io;Jos\xe9\r\n;\r\n",
            &["--encoding", "windows-1252"],
            "cp1252@x.io",
            "José",
        ),
        (
            b"id,Description,Email,Name,Created (UTC)\ncus_1,,stripe@x.io,Anna,2024\n",
            &["--preset", "stripe"],
            "stripe@x.io",
            "Anna",
        ),
        (
            b"Email Address,First Name,Last Name,MEMBER_RATING\nchimp@x.io,Anna,Example,2\n",
            &["--preset", "mailchimp"],
            "chimp@x.io",
            "Anna Example",
        ),
        (
            b"Mail|Who|Age\nmapped@x.io|Anna|7\n",
            &[
                "--delimiter",
                "pipe",
                "--map",
                "mail=email",
                "--map",
                "Who=name",
                "--ignore-unknown",
            ],
            "mapped@x.io",
            "Anna",
        ),
        (b"email,name\rmac@x.io,Anna\r", &[], "mac@x.io", "Anna"),
    ];
    let pair = Pair::new().await;
    for (bytes, options, email, name) in files {
        let file = pair.file("a.csv", bytes);
        let ran = pair.run(&[&["import", &file], options].concat()).await;
        assert!(ran.ended(0).stdout.starts_with("1 created"), "{email}");
        let row = pair.rows().await.pop().unwrap();
        assert_eq!(
            (row.email.as_str(), row.name.as_deref()),
            (email, Some(name))
        );
    }
    let ran = pair
        .run(&[
            "import",
            &pair.file("a.csv", "Email,Created (UTC)\nada@x.io,\n"),
        ])
        .await;
    assert!(
        ran.ended(1).stderr.contains("--preset stripe"),
        "{}",
        ran.stderr
    );
    let lines = pair.file("a.jsonl", r#"{"email": "ada@x.io"}"#);
    let ran = pair.run(&["import", &lines, "--preset", "stripe"]).await;
    let expected = "--delimiter, --preset and --map are for csv files";
    assert!(ran.ended(1).stderr.contains(expected), "{}", ran.stderr);
}

/// An export of a program says nothing by a value that it does not have.
#[tokio::test]
async fn preset_leaves_a_field_that_the_file_does_not_know() {
    let pair = Pair::new().await;
    pair.create("ada@x.io", Some("Ada")).await;
    let text = "Email,First Name,Last Name,Phone\nada@x.io,,,'+491\n";
    let file = pair.file("a.csv", text);
    let ran = pair.run(&["import", &file, "--preset", "shopify"]).await;
    assert!(ran.ended(0).stdout.starts_with("0 created, 1 updated"));
    let rows = pair.rows().await;
    assert_eq!(rows[0].name.as_deref(), Some("Ada"));
    assert_eq!(rows[0].phone.as_deref(), Some("+491"));
}

/// As a PATCH does: what came from Stripe, or from an older version, stands in the way of no other value.
#[tokio::test]
async fn values_that_a_line_does_not_change_are_not_checked() {
    let pair = Pair::new().await;
    let ada = pair.create("ada..l@x.io", Some("Ada")).await;
    let phone = "1".repeat(30);
    let stored = customer::Entity::update_many()
        .col_expr(customer::Column::Phone, Expr::value(&phone))
        .filter(customer::Column::Id.eq(ada.id));
    stored.exec(&pair.database.connection).await.unwrap();
    let import = async |csv: String| {
        let file = pair.file("a.csv", csv);
        let mut command = pair.command(&["import", &file]);
        command.env("EMAIL_REJECT", "dots,unicode-domains");
        run(command).await
    };
    let ran = import("email,name\nada..l@x.io,Ada L\n".to_owned()).await;
    assert!(ran.ended(0).stdout.starts_with("0 created, 1 updated"));
    let ran = import(format!("email,phone\nADA..L@x.io,{phone}\n")).await;
    assert!(ran.ended(0).stdout.contains("1 unchanged"));
    let other = "2".repeat(30);
    let ran = import(format!(
        "email,phone\nada..l@x.io,{other}\ngrace..h@x.io,1\njoan@ü.x.io,1\n"
    ))
    .await;
    let Ran { stderr, .. } = ran.ended(2);
    for expected in [
        "line 2: phone must have at most 20 characters",
        "line 3: email must not have a dot at either end of the part before the @, nor two in a row (EMAIL_REJECT=dots)",
        "line 4: email must have its domain in ASCII",
    ] {
        assert!(stderr.contains(expected), "{stderr}");
    }
}

/// What a file of so many customers would say.
fn many(count: usize) -> String {
    let line = |n| format!("{{\"email\": \"{n}@x.io\", \"name\": \"Ada {n}\"}}\n");
    (0..count).map(line).collect()
}

/// An import from stdin that has taken some of its lines and waits for more.
async fn half_done(pair: &Pair) -> std::process::Child {
    let mut import = pair
        .command(&["import", "-", "--format", "jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = many(1_100);
    import
        .stdin
        .as_mut()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    until("some lines are committed", async || {
        (pair.rows().await.len() >= 1_000).then_some(())
    })
    .await;
    import
}

#[tokio::test]
async fn an_import_that_was_killed_is_completed_by_running_it_again() {
    let pair = Pair::new().await;
    let mut import = half_done(&pair).await;
    import.kill().unwrap();
    import.wait().unwrap();
    assert_eq!(pair.rows().await.len() as u64, outbox(&pair).await);
    let file = pair.file("a.jsonl", many(2_000));
    let ran = pair.run(&["import", &file]).await;
    let summary = "1000 created, 0 updated, 1000 unchanged, 0 refused.\n";
    assert_eq!(ran.ended(0).stdout, summary);
    let rows = pair.rows().await;
    assert_eq!((rows.len(), outbox(&pair).await), (2_000, 2_000));
    assert!(rows.iter().all(|row| row.rev == 1));
}

#[cfg(unix)]
#[tokio::test]
async fn an_import_that_is_interrupted_says_how_far_it_has_come() {
    let pair = Pair::new().await;
    let import = half_done(&pair).await;
    let pid = import.id().to_string();
    let status = Command::new("kill").args(["-INT", &pid]).status();
    assert!(status.unwrap().success());
    // Its stdin stays open: it is the signal that ends it.
    let (stdin, import) = {
        let mut import = import;
        (import.stdin.take(), import)
    };
    let output = tokio::task::spawn_blocking(move || import.wait_with_output().unwrap());
    let ran = Ran::of(output.await.unwrap());
    drop(stdin);
    let expected = "all up to line 1000 is committed but for refused lines, and running it again is safe: interrupted";
    assert!(ran.ended(1).stderr.contains(expected), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("1000 created"));
    assert_eq!(pair.rows().await.len(), 1_000);
}

#[tokio::test]
async fn a_database_that_takes_no_more_stops_it_with_whole_batches_committed() {
    let pair = Pair::new().await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON outbox WHEN (SELECT count(*) FROM outbox) >= 500 \
                BEGIN SELECT RAISE(ABORT, 'full'); END";
    let db = &pair.database.connection;
    db.execute_unprepared(full).await.unwrap();
    let file = pair.file("a.jsonl", many(1_000));
    let ran = pair.run(&["import", &file]).await;
    let expected = "stopped; all up to line 400 is committed";
    assert!(ran.ended(1).stderr.contains(expected), "{}", ran.stderr);
    // Those of the next batch that went through for themselves are whole, too.
    assert_eq!((pair.rows().await.len(), outbox(&pair).await), (500, 500));
    db.execute_unprepared("DROP TRIGGER full").await.unwrap();
    let ran = pair.run(&["import", &file]).await;
    let summary = "500 created, 0 updated, 500 unchanged, 0 refused.\n";
    assert_eq!(ran.ended(0).stdout, summary);
}

/// A create beside the import takes the e-mail between its look and its write, again and again.
#[tokio::test]
async fn an_import_beside_other_writers_loses_nothing() {
    let pair = Pair::on(test_support::postgres().await).await;
    let file = pair.file("a.jsonl", many(600));
    let arguments = ["import", &file];
    let import = pair.run(&arguments);
    let others = async {
        for n in (0..600).rev() {
            pair.try_create(&format!("{n}@x.io")).await;
        }
    };
    let (ran, ()) = tokio::join!(import, others);
    ran.ended(0);
    let rows = pair.rows().await;
    assert_eq!(rows.len(), 600);
    assert!(rows.iter().all(|row| row.name.is_some()));
    let revs: i64 = rows.iter().map(|row| row.rev).sum();
    assert_eq!(u64::try_from(revs).unwrap(), outbox(&pair).await);
}

/// The application's ids are matched to the customers that are there already, by e-mail.
#[tokio::test]
async fn external_id_is_given_to_customers_that_are_there() {
    for database in [test_support::sqlite().await, test_support::postgres().await] {
        let pair = Pair::on(database).await;
        let text = "email\na@x.io\nb@x.io\n";
        let file = pair.file("emails.csv", text);
        pair.run(&["import", &file]).await.ended(0);
        let text = "Mail,Key\na@x.io,1\nb@x.io,1\nc@x.io,\nd@x.io,4\n";
        let file = pair.file("ids.csv", text);
        let maps = ["--map", "Mail=email", "--map", "Key=external_id"];
        let arguments = [&["import", &file][..], &maps].concat();
        let ran = pair.run(&arguments).await;
        assert!(
            ran.ended(2)
                .stdout
                .starts_with("2 created, 1 updated, 0 unchanged, 1 refused")
        );
        assert!(
            ran.stderr
                .contains("line 3: another customer has its external_id"),
            "{}",
            ran.stderr
        );
        let rows = pair.rows().await;
        let ids: Vec<_> = rows.iter().map(|row| row.external_id.as_deref()).collect();
        assert_eq!(ids, [Some("1"), None, None, Some("4")]);
        let ran = pair.run(&arguments).await;
        assert!(
            ran.ended(2)
                .stdout
                .starts_with("0 created, 0 updated, 3 unchanged, 1 refused")
        );
    }
}
