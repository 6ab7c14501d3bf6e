//! The database's clock inside a statement: what rows are stamped with, and what stored times are compared with.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend};

/// On Postgres the time of the statement that this is part of, the same one wherever it stands in it. On SQLite, which
/// one process uses, `now`.
pub fn present(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Expr {
    match db.get_database_backend() {
        DbBackend::Postgres => Expr::cust("statement_timestamp()"),
        _ => Expr::value(now),
    }
}

/// The same clock, some whole seconds ago.
pub fn ago(db: &impl ConnectionTrait, now: DateTime<Utc>, by: Duration) -> Expr {
    match db.get_database_backend() {
        DbBackend::Postgres => Expr::cust(format!(
            "(statement_timestamp() - interval '{} seconds')",
            by.as_secs()
        )),
        _ => Expr::value(now - by),
    }
}

/// Whether a stored time has come. No time is ever set further ahead than `longest`: one that is was stored before the
/// clock was set back, and has come too, because nobody knows how much of it is left.
pub fn has_come(
    column: impl ColumnTrait,
    now: DateTime<Utc>,
    longest: chrono::Duration,
) -> Condition {
    Condition::any()
        .add(column.lte(now))
        .add(column.gt(now + longest))
}
