//! Checks on pooled connections. A connection whose transaction state is unknown is closed instead of being reused,
//! and so is a PostgreSQL session that has become useless.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::SqlxError;
use sea_orm::sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sea_orm::sqlx::postgres::{PgConnection, Postgres};
use sea_orm::sqlx::sqlite::{Sqlite, SqliteConnection};
use sea_orm::sqlx::{Connection, Executor, Row};
use tokio::time::timeout;

use super::no_answer;

/// Time limit for a check of a connection.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle connections are checked before use after this time.
const IDLE_CHECK_AFTER: Duration = Duration::from_secs(2);
/// Sessions are checked for this long after a statement has failed.
const SUSPICION_TIME: Duration = Duration::from_secs(1);
/// Minimum age of a read-only session before it is replaced: bounds the rate of new sessions on a server that is
/// read-only for everyone.
const READ_ONLY_REPLACE_AFTER: Duration = Duration::from_secs(1);

/// Fails inside a transaction that failed, and is false inside one that is open: outside of a transaction, each
/// statement is one of its own, which starts with it.
const SESSION_STATE: &str = "select now() = statement_timestamp() as is_idle, \
    current_setting('transaction_read_only') = 'on' as is_read_only";

/// Until when sessions are checked thoroughly, because a statement has failed. Clones share it.
#[derive(Clone)]
pub(super) struct Suspicion {
    start: Instant,
    until_ms: Arc<AtomicU64>,
}

impl Suspicion {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            until_ms: Arc::default(),
        }
    }

    /// Called after a failed statement.
    pub(super) fn raise(&self) {
        let until = self.start.elapsed() + SUSPICION_TIME;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.start.elapsed() < Duration::from_millis(self.until_ms.load(Ordering::Relaxed))
    }
}

/// Checks each SQLite connection when it returns to the pool.
pub(super) fn check_sqlite(pool: PoolOptions<Sqlite>) -> PoolOptions<Sqlite> {
    pool.after_release(|connection, _| Box::pin(is_outside_transaction(connection)))
}

/// Whether no transaction is open, for the driver and for SQLite.
///
/// On SQLITE_FULL, IOERR, NOMEM and INTERRUPT, SQLite ends the transaction by itself. The driver does not notice, its
/// ROLLBACK fails, and it would turn the next BEGIN into a SAVEPOINT, and the COMMIT of that into a RELEASE that commits
/// nothing.
async fn is_outside_transaction(connection: &mut SqliteConnection) -> Result<bool, SqlxError> {
    // The driver works in order: a rollback that was queued has been executed when this returns.
    connection.ping().await?;
    if connection.is_in_transaction() {
        tracing::warn!("closing a connection whose transaction was ended by SQLite");
        return Ok(false);
    }
    // SQLite refuses a BEGIN inside a transaction. A deferred one takes no lock.
    let is_outside = (&mut *connection).execute("BEGIN; ROLLBACK").await.is_ok();
    if !is_outside {
        tracing::warn!("closing a connection that was returned inside a transaction");
    }
    Ok(is_outside)
}

/// Checks each PostgreSQL session when it returns to the pool, and before use if it was idle or is under suspicion.
pub(super) fn check_postgres(
    pool: PoolOptions<Postgres>,
    suspicion: Suspicion,
) -> PoolOptions<Postgres> {
    let before = suspicion.clone();
    pool.before_acquire(move |connection, metadata| {
        let is_suspect = before.is_raised();
        Box::pin(async move {
            if is_suspect {
                return bounded(is_usable(connection, metadata)).await;
            }
            if metadata.idle_for < IDLE_CHECK_AFTER {
                return Ok(true);
            }
            bounded(is_alive(connection)).await
        })
    })
    .after_release(move |connection, metadata| {
        let is_suspect = suspicion.is_raised();
        Box::pin(async move {
            if is_suspect {
                bounded(is_usable(connection, metadata)).await
            } else {
                bounded(is_alive(connection)).await
            }
        })
    })
}

/// A connection can die silently. The driver would wait for its answer without a limit, and the connection would keep
/// its place in the pool.
async fn bounded(check: impl Future<Output = Result<bool, SqlxError>>) -> Result<bool, SqlxError> {
    let checked = timeout(CHECK_TIMEOUT, check).await;
    checked.unwrap_or_else(|_| Err(no_answer()))
}

async fn is_alive(connection: &mut PgConnection) -> Result<bool, SqlxError> {
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Whether the session is outside of a transaction and can write. After a fail-over, or after an operator has lifted
/// a read-only setting, old sessions may stay read-only while new ones are not.
async fn is_usable(
    connection: &mut PgConnection,
    metadata: PoolConnectionMetadata,
) -> Result<bool, SqlxError> {
    if connection.is_in_transaction() {
        return Ok(false);
    }
    // They may be lost on the server, or no longer fit a changed table.
    connection.clear_cached_statements().await?;
    let state = (&mut *connection).fetch_one(SESSION_STATE).await?;
    let is_read_only = state.try_get::<bool, _>("is_read_only")?;
    let is_stale = is_read_only && metadata.age > READ_ONLY_REPLACE_AFTER;
    Ok(state.try_get::<bool, _>("is_idle")? && !is_stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_ends_by_itself() {
        let mut suspicion = Suspicion::new();
        assert!(!suspicion.is_raised());
        suspicion.raise();
        assert!(suspicion.clone().is_raised());
        suspicion.start -= SUSPICION_TIME;
        assert!(!suspicion.is_raised());
    }
}
