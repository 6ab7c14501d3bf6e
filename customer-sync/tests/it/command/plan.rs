//! Plan before apply.

use serde_json::Value;

use super::*;

async fn json(pair: &Pair, code: i32) -> Value {
    let ran = pair.run(&["plan", "--json"]).await;
    serde_json::from_str(&ran.ended(code).stdout).unwrap()
}

/// Writes a plan and returns its path.
async fn planned(pair: &Pair) -> String {
    let path = pair.path("plan.json").display().to_string();
    pair.run(&["plan", "--output", &path]).await.ended(2);
    path
}

#[tokio::test]
async fn two_sides_in_step_are_code_0() {
    let pair = Pair::new().await;
    let ran = pair.run(&["plan"]).await;
    assert!(ran.ended(0).stdout.starts_with("Nothing to do"));
    assert_eq!(json(&pair, 0).await["items"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn what_differs_is_code_2_and_shown_the_same_each_time_and_nothing_is_written() {
    for database in [test_support::sqlite().await, test_support::postgres().await] {
        let pair = Pair::on(database).await;
        pair.create("ada@x.io", Some("Ada")).await;
        let new = [("email", "grace@x.io"), ("name", "Grace \u{1b}[2J")];
        pair.stripe.sandbox.create_as_human(&new).unwrap();
        pair.stripe
            .sandbox
            .create_as_human(&[("name", "Nobody")])
            .unwrap();
        let (rows, files) = (pair.rows().await, pair.stripe.sandbox.customers());
        let ran = pair.run(&["plan"]).await;
        let text = &ran.ended(2).stdout;
        for shown in [
            "+ create in Stripe: email \"ada@x.io\", name \"Ada\"",
            "+ create here: email \"grace@x.io\", name \"Grace \\u{1b}[2J\"",
            "x refuse no_email: Give it an e-mail in Stripe",
            "3 of the customers differ (2 are in Stripe): 2 to create, 1 refused.",
        ] {
            assert!(text.contains(shown), "{text}");
        }
        let mut plans = [json(&pair, 2).await, json(&pair, 2).await];
        for plan in &mut plans {
            assert_eq!(plan["version"], 1);
            assert_eq!(plan["account"], "acct_1SandboxDefault00");
            assert_eq!(plan["livemode"], false);
            assert_eq!(plan["policy"].as_str().unwrap().len(), 16);
            plan["read_at"].take();
        }
        assert_eq!(plans[0], plans[1]);
        let was = &plans[0]["items"][2]["was"];
        assert_eq!((&was["rev"], &was["synced_rev"]), (&1.into(), &Value::Null));
        assert_eq!(pair.writes(), [] as [String; 0]);
        assert_eq!(pair.rows().await, rows);
        assert_eq!(pair.stripe.sandbox.customers(), files);
    }
}

#[tokio::test]
async fn a_plan_is_done_exactly_and_what_else_waits_is_left_alone() {
    let pair = Pair::new().await;
    let ada = pair.create("ada@x.io", Some("Ada")).await;
    pair.stripe
        .sandbox
        .create_as_human(&[("email", "grace@x.io"), ("name", "Grace")])
        .unwrap();
    let plan = planned(&pair).await;
    let later = pair.create("later@x.io", None).await;
    let ran = pair.run(&["apply", &plan]).await;
    assert!(ran.ended(0).stdout.starts_with("2 of 2 items done"));
    let rows = pair.rows().await;
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().any(|row| row.name.as_deref() == Some("Grace")));
    assert_eq!(pair.writes(), ["POST /v1/customers"]);
    let left = json(&pair, 2).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["customer_id"], later.id.to_string());

    // Field by field, and once more nothing is left.
    pair.run(&["apply", &planned(&pair).await]).await.ended(0);
    pair.rename(&ada, "Ada Lovelace").await;
    let ran = pair.run(&["plan"]).await;
    let shown = "~ update in Stripe: name \"Ada\" -> \"Ada Lovelace\"";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    pair.run(&["apply", &planned(&pair).await]).await.ended(0);
    assert_eq!(json(&pair, 0).await["listed"], 3);
}

#[tokio::test]
async fn a_stale_plan_is_refused_as_a_whole() {
    let pair = Pair::new().await;
    let ada = pair.create("ada@x.io", Some("Ada")).await;
    pair.create("grace@x.io", Some("Grace")).await;
    let plan = planned(&pair).await;
    pair.rename(&ada, "Ada Lovelace").await;
    let ran = pair.run(&["apply", &plan]).await;
    let expected = format!(
        "1 of 2 items are stale, the first of them customer {}",
        ada.id
    );
    assert!(ran.ended(1).stderr.contains(&expected), "{}", ran.stderr);
    assert_eq!(pair.writes(), [] as [String; 0]);
}

/// The first of the two takes the e-mail of both.
#[tokio::test]
async fn customers_that_share_an_email_are_applied_as_planned() {
    let pair = Pair::new().await;
    for email in ["ada@x.io", "Ada@X.io"] {
        pair.stripe
            .sandbox
            .create_as_human(&[("email", email)])
            .unwrap();
    }
    let plan = planned(&pair).await;
    let ran = pair.run(&["apply", &plan]).await;
    assert!(ran.ended(0).stdout.starts_with("1 of 1 items done"));
    assert_eq!(pair.rows().await.len(), 1);
}

#[tokio::test]
async fn a_plan_of_other_settings_or_another_account_is_refused() {
    let pair = Pair::new().await;
    pair.create("ada@x.io", Some("Ada")).await;
    let plan = planned(&pair).await;
    let mut command = pair.command(&["apply", &plan]);
    command.env("ON_DATABASE_DELETE", "detach");
    let ran = run(command).await;
    assert!(ran.ended(1).stderr.contains("other settings"));
    let options = Options {
        account_id: "acct_other".to_owned(),
        ..Options::default()
    };
    let other = stripe_sandbox::start(options).await.unwrap();
    let mut command = pair.command(&["apply", &plan]);
    command.env("STRIPE_API_BASE", &other.url);
    let ran = run(command).await;
    assert!(ran.ended(1).stderr.contains("another Stripe account"));
    assert_eq!(other.sandbox.customer_count(), 0);
    let options = Options {
        livemode: true,
        ..Options::default()
    };
    let live = stripe_sandbox::start(options).await.unwrap();
    let mut command = pair.command(&["apply", &plan]);
    command.env("STRIPE_API_BASE", &live.url);
    command.env("STRIPE_SECRET_KEY", "sk_live_1");
    let ran = run(command).await;
    assert!(ran.ended(1).stderr.contains("account or mode"));
    assert_eq!(live.sandbox.customer_count(), 0);
    let ran = pair.run(&["apply", &pair.file("no.json", "{}")]).await;
    assert!(ran.ended(1).stderr.contains("is no plan"));
    assert_eq!(pair.writes(), [] as [String; 0]);
}

#[tokio::test]
async fn what_cannot_be_read_is_code_1_and_says_why() {
    let pair = Pair::new().await;
    let mut command = pair.command(&["plan"]);
    command.env_remove("DATABASE_URL");
    let ran = run(command).await;
    assert!(ran.ended(1).stderr.contains("there is no database"));
    // As a running process holds it.
    std::fs::create_dir_all(pair.path("data")).unwrap();
    let lock = std::fs::File::create(pair.path("data/lock")).unwrap();
    lock.lock().unwrap();
    let ran = pair.run(&["plan"]).await;
    assert!(ran.ended(1).stderr.contains("another customer-sync uses"));
    drop(lock);
    let empty = format!("sqlite:{}", pair.path("empty.db").display());
    let mut command = pair.command(&["plan"]);
    command.env("DATABASE_URL", empty);
    let ran = run(command).await;
    assert!(ran.ended(1).stderr.contains("does not have the tables"));
}

/// Without a key, the sandbox is the one that the stopped process has left in its folder.
#[tokio::test]
async fn the_sandbox_of_a_folder_is_planned_against() {
    let pair = Pair::new().await;
    std::fs::create_dir_all(pair.path("data")).unwrap();
    let options = Options {
        file: Some(pair.path("data/sandbox.jsonl")),
        ..Options::default()
    };
    let sandbox = stripe_sandbox::Sandbox::open(options).unwrap();
    let new = [("email", "grace@x.io"), ("name", "Grace")];
    sandbox.create_as_human(&new).unwrap();
    drop(sandbox);
    let mut command = pair.command(&["plan"]);
    command
        .env_remove("STRIPE_SECRET_KEY")
        .env_remove("STRIPE_API_BASE");
    let ran = run(command).await;
    assert!(ran.ended(2).stdout.contains("+ create here"));
}
