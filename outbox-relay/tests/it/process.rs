//! The program itself.

use std::process::Command;

#[test]
fn without_a_broker_it_says_what_to_set_and_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .env("DATABASE_URL", "sqlite::memory:")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("AMQP_URL"), "{said}");
}

#[test]
fn the_healthcheck_fails_where_nothing_answers() {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .env("ADMIN_LISTEN", "127.0.0.1:1")
        .arg("healthcheck")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
}
