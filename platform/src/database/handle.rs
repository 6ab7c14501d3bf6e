//! The handle on the database that every crate works with. Its pool is replaced when PostgreSQL grants fewer or more
//! connections than it has, and behind a connection pooler each statement is a transaction.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sea_orm::entity::prelude::async_trait::async_trait;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, QueryResult, RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use tokio::sync::Mutex;

use super::postgres::{Access, POOLED_TRANSACTION, Server};
use super::within_bounds;

/// Time between attempts to use more connections, where PostgreSQL has refused some.
const GROWTH_INTERVAL: Duration = Duration::from_secs(10);
/// Time for which the cause of a failed connection is not asked for again.
const CAUSE_VALID: Duration = Duration::from_secs(1);

/// A database. Clones are the same one.
#[derive(Clone, Default)]
pub struct Database(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: RwLock<State>,
    /// SQLite has none.
    server: Option<Server>,
    /// Held while the pool is replaced: the last cause for which it could not be, and when.
    last_cause: Mutex<Option<(Instant, String)>>,
}

#[derive(Clone)]
struct State {
    connection: DatabaseConnection,
    access: Access,
    /// Counts the replacements.
    generation: u64,
    grow_at: Instant,
}

impl Default for State {
    fn default() -> Self {
        Self::new(DatabaseConnection::default(), Access::default(), 0)
    }
}

/// Does `$work` on the present pool. Where no connection could be had, nothing was sent, and it is repeated once if the
/// pool has been replaced.
macro_rules! attempt {
    ($self:ident, $state:ident => $work:expr) => {{
        $self.grow().await;
        let $state = $self.state();
        match $work.await {
            Err(error) if has_no_connection(&error) => {
                let $state = $self.replaced(&$state, error).await?;
                $work.await
            }
            done => done,
        }
    }};
}

impl Database {
    pub(super) fn sqlite(connection: DatabaseConnection) -> Self {
        let state = State::new(connection, Access::default(), 0);
        Self(Arc::new(Inner {
            state: RwLock::new(state),
            ..Inner::default()
        }))
    }

    pub(super) fn postgres(server: Server, access: Access) -> Self {
        let state = State::new(server.pool(access), access, 0);
        Self(Arc::new(Inner {
            state: RwLock::new(state),
            server: Some(server),
            ..Inner::default()
        }))
    }

    /// The present pool itself, for the migrator and for tests.
    pub fn connection(&self) -> DatabaseConnection {
        self.state().connection
    }

    pub fn get_database_backend(&self) -> DbBackend {
        self.read(|state| state.connection.get_database_backend())
    }

    /// Whether a connection pooler is in between, so that nothing outlasts a transaction: no LISTEN, no settings.
    pub fn is_pooled(&self) -> bool {
        self.read(|state| state.access.is_pooled)
    }

    /// Calls `callback` after each statement.
    pub fn set_metric_callback(
        &mut self,
        callback: impl Fn(&sea_orm::metric::Info<'_>) + Send + Sync + 'static,
    ) {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        state.connection.set_metric_callback(callback);
    }

    /// Ends every connection. The handle is of no use any more.
    pub async fn close(self) -> Result<(), DbErr> {
        self.state().connection.close().await
    }

    pub(super) async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        attempt!(self, state => state.begin())
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> State {
        self.read(State::clone)
    }

    fn replace(&self, server: &Server, access: Access) -> State {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State::new(server.pool(access), access, state.generation + 1);
        state.clone()
    }

    /// The pool that is to be used after `failed` could not get a connection.
    ///
    /// # Errors
    /// Another pool would not help: with the address of the server and the cause.
    async fn replaced(&self, failed: &State, error: DbErr) -> Result<State, DbErr> {
        let Some(server) = &self.0.server else {
            return Err(error);
        };
        let mut last_cause = self.0.last_cause.lock().await;
        let present = self.state();
        if present.generation != failed.generation {
            return Ok(present);
        }
        if let DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) = error {
            return Err(error);
        }
        if let Some((at, cause)) = &*last_cause
            && at.elapsed() < CAUSE_VALID
        {
            return Err(no_connection(cause.clone()));
        }
        let cause = match server.probe().await {
            Ok(access) if access.is_narrower(present.access) => {
                return Ok(self.replace(server, access));
            }
            Ok(_) => server.busy(present.access),
            Err(refusal) if refusal.is_full && present.access.connections > 1 => {
                let access = present.access.halved();
                let connections = access.connections;
                tracing::warn!(connections, "using fewer connections: {}", refusal.cause);
                return Ok(self.replace(server, access));
            }
            Err(refusal) => refusal.cause,
        };
        *last_cause = Some((Instant::now(), cause.clone()));
        Err(no_connection(cause))
    }

    /// Uses more connections, if some were refused before, all others are in use, and the server grants more by now.
    async fn grow(&self) {
        let Some(server) = &self.0.server else { return };
        let is_due = |state: &State| {
            state.access.connections < server.max_connections
                && state.grow_at <= Instant::now()
                && state.connection.get_postgres_connection_pool().size()
                    >= state.access.connections
        };
        if !self.read(is_due) {
            return;
        }
        let Ok(_one_at_a_time) = self.0.last_cause.try_lock() else {
            return;
        };
        let present = self.state();
        if !is_due(&present) {
            return;
        }
        let wanted = server.max_connections - present.access.connections;
        let spare = server.spare(present.access, wanted).await;
        let access = Access {
            connections: present.access.connections + spare,
            ..present.access
        };
        if spare > 0 {
            let connections = access.connections;
            tracing::info!(connections, "using more connections");
            self.replace(server, access);
        } else {
            let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
            state.grow_at = Instant::now() + GROWTH_INTERVAL;
        }
    }
}

/// No URL, no password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

#[async_trait]
impl ConnectionTrait for Database {
    fn get_database_backend(&self) -> DbBackend {
        self.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        attempt!(self, state => state.execute_raw(statement.clone()))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        attempt!(self, state => state.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        attempt!(self, state => state.query_one_raw(statement.clone()))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        attempt!(self, state => state.query_all_raw(statement.clone()))
    }
}

/// Does `$work` on the pool, or in a transaction of its own.
macro_rules! in_one_session {
    ($self:ident, $connection:ident => $work:expr) => {{
        if $self.access.is_pooled {
            let $connection = $self.begin().await?;
            let done = $work.await?;
            $connection.commit().await?;
            Ok(done)
        } else {
            let $connection = &$self.connection;
            $work.await
        }
    }};
}

impl State {
    fn new(connection: DatabaseConnection, access: Access, generation: u64) -> Self {
        Self {
            connection,
            access,
            generation,
            grow_at: Instant::now() + GROWTH_INTERVAL,
        }
    }

    /// On PostgreSQL the driver forgets a BEGIN whose caller goes away before the answer, and the session would be reused
    /// inside a transaction that nobody commits. So a task of its own waits for the answer.
    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        if self.connection.get_database_backend() != DbBackend::Postgres {
            return self.begin_here().await;
        }
        let state = self.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the answer, and outlives a caller that goes away"
        )]
        let begun = tokio::spawn(within_bounds(async move { state.begin_here().await })).await;
        begun.unwrap_or_else(|error| Err(no_connection(error.to_string())))
    }

    async fn begin_here(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the opener that everybody else uses"
        )]
        let tx = self.connection.begin_with_options(options).await?;
        if self.access.is_pooled {
            tx.execute_unprepared(POOLED_TRANSACTION).await?;
        }
        Ok(tx)
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        in_one_session!(self, connection => connection.execute_raw(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        in_one_session!(self, connection => connection.execute_unprepared(sql))
    }

    /// All rows are read: after the first one the driver would end a SQLite statement without reporting whether its
    /// changes were committed.
    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        in_one_session!(self, connection => connection.query_all_raw(statement))
    }
}

/// Errors of the pool. They come before anything is sent.
fn has_no_connection(error: &DbErr) -> bool {
    matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_))
}

fn no_connection(cause: String) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(cause))
}
