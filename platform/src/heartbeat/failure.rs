//! Why a write to the database failed, in words that may be shown to anyone: no host, role or value is in them.

use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// What is wrong and what to do. Codes of PostgreSQL
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>) are five characters, those of SQLite
/// (<https://www.sqlite.org/rescode.html>) are numbers with the primary one in the low byte.
pub fn explain(error: &DbErr) -> &'static str {
    let code = code(error).unwrap_or_default();
    if code.len() < 5
        && let Ok(number) = code.parse::<u32>()
    {
        return match number & 0xff {
            5 | 6 => "the database file is locked by another writer",
            8 => {
                "the database file is read-only: make the file and its folder writable for this user"
            }
            10 | 11 => "the database file cannot be read or written: check its disk",
            13 => "the disk of the database is full",
            14 => {
                "the database file cannot be opened: check that it exists and that this user may write it"
            }
            _ => UNKNOWN,
        };
    }
    match &*code {
        "25006" => {
            "the database accepts no writes, because the server or the session is read-only: connect to the primary, \
             or set default_transaction_read_only to off"
        }
        "42501" => {
            "the role of DATABASE_URL lacks a privilege: grant it SELECT, INSERT, UPDATE and DELETE on all tables, \
             and USAGE on their schema and sequences"
        }
        "42P01" | "3F000" => "a table is missing: run `migration up`",
        "53100" => "the disk of the database is full",
        "53200" => "the database is out of memory",
        "53300" => "the database has no free connection for this process",
        "57P01" | "57P02" | "57P03" => "the database is starting or stopping",
        "57014" | "55P03" => "a write to the database did not end in time",
        "3D000" => "the database of DATABASE_URL does not exist",
        _ if code.starts_with("28") => {
            "the database refuses the role or the password of DATABASE_URL"
        }
        _ => UNKNOWN,
    }
}

const UNKNOWN: &str =
    "the database does not answer, or refuses a write: see the log of this process";

fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    match &**error {
        SqlxError::Database(error) => error.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}
