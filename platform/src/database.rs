//! Opens the database, SQLite or Postgres, the one way that every process uses, and opens every
//! write transaction.

mod encoding;
mod error;
mod handle;
mod postgres;
mod session;
mod url;

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, SqlxError,
    Statement,
};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Secret;
use crate::sqlite_file;

use postgres::{Access, Server};

pub use error::{is_unavailable, is_undone};
pub use handle::Database;

/// Time limit for waiting for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// For one statement or transaction of ours, waiting for locks included: longer than the server gives a
/// statement, so that it ends only what a dead link would leave without an answer for ever.
pub const LONGEST: Duration = Duration::from_secs(40);

/// How many file descriptors so many connections need: SQLite opens the database and its log for each, and the shared
/// memory once.
pub fn descriptors(connections: u32) -> usize {
    usize::try_from(connections)
        .unwrap_or(usize::MAX)
        .saturating_mul(2)
        + 1
}

/// Connects, with at most `max_connections` connections, and fewer where PostgreSQL grants fewer; `sqlite::memory:` has
/// one, which is never closed.
///
/// # Errors
/// When the URL is neither Postgres' nor SQLite's, or the database can't be reached: within some seconds, with the
/// address and the cause. No error holds the URL.
pub async fn connect(url: &Secret, max_connections: u32) -> Result<Database, DbErr> {
    open(url, max_connections, false).await
}

/// Connects as [`connect`] does, for a service: a PostgreSQL that cannot be used yet is logged, and each use tries again.
///
/// # Errors
/// Another form of URL, and every error of SQLite.
pub async fn connect_lazy(url: &Secret, max_connections: u32) -> Result<Database, DbErr> {
    open(url, max_connections, true).await
}

async fn open(url: &Secret, max_connections: u32, waits: bool) -> Result<Database, DbErr> {
    url::check(url).map_err(|error| DbErr::Conn(RuntimeErr::Internal(error.to_string())))?;
    // The forms are checked here, because sea-orm's own answer repeats the URL with its password.
    let text = url.expose();
    if let Some(server) = Server::parse(text, max_connections) {
        let mut is_reached = true;
        let access = match server.probe().await {
            Ok(access) => access,
            Err(refusal) if waits => {
                is_reached = false;
                let cause = refusal.cause;
                tracing::warn!("the database cannot be used yet, trying again: {cause}");
                Access {
                    is_pooled: false,
                    connections: max_connections,
                }
            }
            Err(refusal) => return Err(DbErr::Conn(RuntimeErr::Internal(refusal.cause))),
        };
        if access.is_pooled {
            tracing::info!("using PostgreSQL through a connection pooler, without notifications");
        }
        if access.connections < max_connections {
            let connections = access.connections;
            tracing::warn!(
                connections,
                "PostgreSQL grants fewer connections than asked for"
            );
        }
        let db = Database::postgres(server, access);
        if is_reached {
            encoding::check(&db).await?;
        }
        return Ok(db);
    }
    if text.starts_with("sqlite:") && text.parse::<SqliteConnectOptions>().is_ok() {
        let options = sqlite(text, max_connections);
        let connection = sea_orm::Database::connect(options).await?;
        return Ok(Database::sqlite(connection));
    }
    Err(DbErr::Conn(RuntimeErr::Internal(
        "the database URL is neither postgres://user:password@host/name nor sqlite:path".to_owned(),
    )))
}

fn no_answer() -> SqlxError {
    SqlxError::Io(std::io::ErrorKind::TimedOut.into())
}

/// Does something with the database, for at most [`LONGEST`]. Nothing else ends what waits for an answer on a
/// link that has died without a word. What was being done may have been done.
///
/// # Errors
/// Those of the work, and that it was not through in time.
pub fn within_bounds<T, E: From<DbErr>>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // Boxed here, so that it makes nobody's future larger.
    let work = timeout(LONGEST, Box::pin(work));
    async {
        match work.await {
            Ok(done) => done,
            Err(_) => Err(DbErr::Conn(RuntimeErr::SqlxError(no_answer().into())).into()),
        }
    }
}

fn sqlite(url: &str, max_connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        // A statement in the log would carry its values.
        .sqlx_logging(false)
        .test_before_acquire(false)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_connections(max_connections);
    if sqlite_file::is_in_memory(url) {
        // Every connection would have a database of its own, which ends with it.
        options
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
    }
    // As options of the connection, so that every connection of the pool has them.
    // synchronous=FULL: with WAL the default would let a power cut take back a commit that was
    // answered.
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
    });
    options.map_sqlx_sqlite_pool_opts(session::check_sqlite);
    options
}

/// Opens a write transaction: the one opener in the workspace.
///
/// On SQLite it is BEGIN IMMEDIATE, which waits for the writer before it (up to 10 s). The default,
/// BEGIN DEFERRED, takes the write lock at the first write, and fails at once as locked when
/// somebody else wrote after its first read.
pub async fn begin(db: &Database) -> Result<DatabaseTransaction, DbErr> {
    db.begin().await
}

/// The database's time, in whole microseconds: what Postgres' clock says, so that processes agree,
/// and the process's own clock on SQLite, where there is one process.
pub async fn now(db: &impl ConnectionTrait, clock: &Clock) -> Result<DateTime<Utc>, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(clock.now().trunc_subsecs(6));
    }
    let statement = Statement::from_string(DbBackend::Postgres, "select clock_timestamp() as now");
    let row = db.query_one_raw(statement).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("clock_timestamp() gave no row".to_owned()))?
        .try_get("", "now")
}
