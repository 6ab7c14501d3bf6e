//! `webhook register` on a database that belongs to an account and a mode already.

use super::{Pair, run};
use stripe_sandbox::Options;

const REGISTER: [&str; 4] = [
    "webhook",
    "register",
    "--url",
    "https://sync.example/stripe/webhook",
];

/// A pair whose account and mode are pinned.
async fn pinned() -> Pair {
    let pair = Pair::new().await;
    pair.create("ada@x.io", Some("Ada")).await;
    let plan = pair.path("plan.json").display().to_string();
    pair.run(&["plan", "--output", &plan]).await.ended(2);
    pair.run(&["apply", &plan]).await.ended(0);
    pair
}

#[tokio::test]
async fn register_refuses_a_key_of_another_account_or_mode() {
    let pair = pinned().await;
    let account_id = "acct_other".to_owned();
    let live = Options {
        livemode: true,
        ..Options::default()
    };
    let other = Options {
        account_id,
        ..Options::default()
    };
    for (options, key, word) in [
        (other, "sk_test_1", "acct_other"),
        (live, "sk_live_1", "live mode"),
    ] {
        let stripe = stripe_sandbox::start(options).await.unwrap();
        let mut command = pair.command(&REGISTER);
        command.env("STRIPE_API_BASE", &stripe.url);
        command.env("STRIPE_SECRET_KEY", key);
        let ran = run(command).await;
        assert!(ran.ended(1).stderr.contains(word), "{}", ran.stderr);
        let requests = stripe.sandbox.requests();
        assert!(requests.iter().all(|request| request.method == "GET"));
    }
    let ran = pair.run(&REGISTER).await;
    assert!(
        ran.ended(0).stdout.contains("in test mode"),
        "{}",
        ran.stdout
    );
}
