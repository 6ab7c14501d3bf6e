//! No program prints a secret, wherever it was put.

use crate::process::outcome;

const SECRET: &str = "hunter2";

/// A program, its arguments and its settings.
type Call<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

/// Runs it with everything logged. It fails, in one line that says more than nothing, and without the secret.
fn assert_fails_in_silence((program, arguments, settings): Call<'_>) {
    let mut settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    settings.push(("LOG", "trace".to_owned()));
    settings.push(("API_LISTEN", "127.0.0.1:0".to_owned()));
    settings.push(("ADMIN_LISTEN", "127.0.0.1:0".to_owned()));
    let (code, stdout, stderr) = outcome(program, arguments, &settings);
    let said = format!("{stdout}{stderr}");
    assert!(!said.contains(SECRET), "{program} {arguments:?}: {said}");
    assert!(code > 0, "{program} {arguments:?}: {said}");
    assert!(said.len() > 20, "{program} {arguments:?}: {said}");
}

#[test]
fn database_url_that_is_refused_is_not_printed() {
    for url in [
        "postgres://app:hunter2#1@127.0.0.1/app",
        "postgres://app:hun/hunter2@127.0.0.1/app",
        "postgresql+asyncpg://app:hunter2@127.0.0.1/app",
        "postgres://app:hunter2@127.0.0.1:1,127.0.0.1:2/app",
        "postgres://app@127.0.0.1:1/app?sslmode=disable&sslpassword=hunter2",
        "postgres://app@127.0.0.1:1/app?hunter2=hunter2",
        "postgres://app@127.0.0.1:1/app?port=hunter2",
        "sqlite:app.db?hunter2=1",
        "hunter2",
    ] {
        let settings = [("DATABASE_URL", url), ("AMQP_URL", "amqp://127.0.0.1:1")];
        let programs: [(&str, &[&str]); 5] = [
            ("migration", &["status"]),
            ("api", &[]),
            ("outbox-relay", &[]),
            ("sync-worker", &[]),
            ("customer-sync", &["export"]),
        ];
        for (program, arguments) in programs {
            assert_fails_in_silence((program, arguments, &settings));
        }
    }
}

#[test]
fn database_url_that_nobody_answers_at_is_not_printed() {
    let url = "postgres://app:hunter2@127.0.0.1:1/app?options[a]=hunter2";
    assert_fails_in_silence(("migration", &["status"], &[("DATABASE_URL", url)]));
}

#[test]
fn secret_in_the_wrong_place_is_not_printed() {
    let url = "postgres://app:hunter2@127.0.0.1/app";
    let key = "sk_live_hunter2";
    for program in [
        "migration",
        "api",
        "outbox-relay",
        "sync-worker",
        "customer-sync",
    ] {
        assert_fails_in_silence((program, &[url], &[]));
        assert_fails_in_silence((program, &[key], &[]));
        assert_fails_in_silence((program, &["--log-format", url], &[]));
        assert_fails_in_silence((program, &[], &[("LOG_FORMAT", key)]));
    }
}
