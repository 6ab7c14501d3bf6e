//! Classification of database errors: is the database the cause, and was anything done?

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// SQLite's primary result codes for a database that is locked or cannot be written or read for now
/// (<https://www.sqlite.org/rescode.html>): BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL.
const SQLITE_UNAVAILABLE: [u32; 9] = [5, 6, 7, 8, 9, 10, 13, 14, 15];

/// PostgreSQL's error classes for a server or session that cannot do the work for now
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>): connection exception, invalid transaction state
/// (a read-only server is 25006), invalid authorization, unknown database or schema, transaction rollback, insufficient
/// resources (a full disk is 53100), operator intervention, system error.
const POSTGRES_UNAVAILABLE: [&str; 9] = ["08", "25", "28", "3D", "3F", "40", "53", "57", "58"];

/// A schema that is not migrated (undefined table, undefined column), missing grants, and a prepared statement that
/// the session has lost or that no longer fits.
const POSTGRES_UNAVAILABLE_CODES: [&str; 6] =
    ["42P01", "42703", "42501", "26000", "42P05", "0A000"];

/// Errors after which nothing of a transaction was done and a second attempt can succeed: serialization failure,
/// deadlock, a read-only session, a lost prepared statement.
const POSTGRES_UNDONE: [&str; 6] = ["40001", "40P01", "25006", "26000", "42P05", "0A000"];

/// Whether the database rather than the statement is the cause, so that the same request can succeed later.
pub fn is_unavailable(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        _ => driver_error(error).is_some_and(|error| match error {
            SqlxError::Io(_)
            | SqlxError::Tls(_)
            | SqlxError::Protocol(_)
            | SqlxError::PoolTimedOut
            | SqlxError::PoolClosed
            | SqlxError::BeginFailed
            | SqlxError::InvalidSavePointStatement
            | SqlxError::WorkerCrashed => true,
            SqlxError::Database(error) => is_unavailable_code(&**error),
            _ => false,
        }),
    }
}

/// Whether PostgreSQL has refused the work as a whole, so that it can be repeated at once.
pub fn is_undone(error: &DbErr) -> bool {
    let code = driver_error(error)
        .and_then(SqlxError::as_database_error)
        .and_then(DatabaseError::code);
    code.is_some_and(|code| POSTGRES_UNDONE.contains(&&*code))
}

fn driver_error(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
            Some(error)
        }
        _ => None,
    }
}

fn is_unavailable_code(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    // A SQLSTATE has five characters; SQLite's extended codes are numbers with the primary code in the low byte.
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => SQLITE_UNAVAILABLE.contains(&(number & 0xff)),
        _ => {
            POSTGRES_UNAVAILABLE.contains(&code.get(..2).unwrap_or_default())
                || POSTGRES_UNAVAILABLE_CODES.contains(&&*code)
        }
    }
}
