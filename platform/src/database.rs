//! Opens the database, SQLite or Postgres, the one way that every process uses, and opens every
//! write transaction.

mod error;
mod session;

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    DbErr, RuntimeErr, SqliteTransactionMode, SqlxError, Statement, TransactionOptions,
    TransactionTrait,
};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Secret;
use session::Suspicion;

pub use error::{is_unavailable, is_undone};

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// For a connection of the pool, and for the server to answer when one is opened.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// For one statement or transaction of ours, waiting for locks included: longer than the server gives a
/// statement, so that it ends only what a dead link would leave without an answer for ever.
pub const LONGEST: Duration = Duration::from_secs(40);
/// What the server is to make of a client that it hears nothing from: a transaction keeps its locks until
/// then. No transaction of ours is open while anything else is waited for.
const SESSION: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "15s"),
    ("tcp_user_timeout", "30s"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Connects, with at most `max_connections` connections; `sqlite::memory:` has one, which is never
/// closed.
///
/// # Errors
/// When the URL is neither Postgres' nor SQLite's, or the database can't be reached. No error holds
/// the URL.
pub async fn connect(url: &Secret, max_connections: u32) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url.expose());
    options
        // A statement in the log would carry its values.
        .sqlx_logging(false)
        .test_before_acquire(false)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_connections(max_connections);
    // The forms are checked here, because sea-orm's own answer repeats the URL with its password.
    let text = url.expose();
    let suspicion = Suspicion::new();
    if is_postgres(text) && text.parse::<PgConnectOptions>().is_ok() {
        options
            .set_application_name(program())
            .statement_timeout(STATEMENT_TIMEOUT)
            .map_sqlx_postgres_opts(|postgres| postgres.options(SESSION))
            .map_sqlx_postgres_pool_opts({
                let suspicion = suspicion.clone();
                move |pool| session::check_postgres(pool, suspicion.clone())
            });
    } else if text.starts_with("sqlite:") && text.parse::<SqliteConnectOptions>().is_ok() {
        sqlite(&mut options);
    } else {
        return Err(DbErr::Conn(RuntimeErr::Internal(
            "the database URL is neither postgres://user:password@host/name nor sqlite:path"
                .to_owned(),
        )));
    }
    let mut db = Database::connect(options).await?;
    if db.get_database_backend() == DbBackend::Postgres {
        db.set_metric_callback(move |statement| {
            if statement.failed {
                suspicion.raise();
            }
        });
    }
    Ok(db)
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

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// What pg_stat_activity shows for our connections.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn sqlite(options: &mut ConnectOptions) {
    let url = options.get_url();
    if url.contains(":memory:") || url.contains("mode=memory") {
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
}

/// Opens a write transaction: the one opener in the workspace.
///
/// On SQLite it is BEGIN IMMEDIATE, which waits for the writer before it (up to 10 s). The default,
/// BEGIN DEFERRED, takes the write lock at the first write, and fails at once as locked when
/// somebody else wrote after its first read.
pub async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the opener that everybody else uses"
    )]
    db.begin_with_options(options).await
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
