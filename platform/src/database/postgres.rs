//! A PostgreSQL server: the settings of its sessions, and connections outside of the pool, which report why it cannot be
//! reached, how many connections it grants, and whether a connection pooler is in between.

use std::time::Duration;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sea_orm::sqlx::{ConnectOptions, Connection, Executor, Row};
use sea_orm::{DatabaseConnection, SqlxError, SqlxPostgresConnector};
use tokio::time::timeout;

use super::no_answer;
use super::session::{self, Suspicion};

/// Time limit for opening one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Time limit for waiting for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of every session, whatever the defaults of the server, the database and the role are. The driver sets
/// DateStyle, TimeZone and client_encoding. The search_path and a read-only default are the operator's.
///
/// The timeouts end a client that is silent: a transaction keeps its locks until then, and no transaction of ours is
/// open while anything else is waited for.
const SESSION: [(&str, &str); 8] = [
    (MARKER, "direct"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("tcp_user_timeout", "30s"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// A setting that means nothing to the server. A session that does not have it is not ours alone: a connection pooler
/// in between ignores the settings of its clients.
const MARKER: &str = "direct.session";

const IS_DIRECT: &str =
    "select coalesce(current_setting('direct.session', true), '') = 'direct' as is_direct";

/// Begins each transaction behind a connection pooler: the session has been somebody else's. Its prepared statements
/// have the names that the driver gives to ours.
pub(super) const POOLED_TRANSACTION: &str = "set transaction isolation level read committed; \
    deallocate all; set local statement_timeout = '30s'; \
    set local idle_in_transaction_session_timeout = '15s'";

/// How many connections the role, the database and the server allow; null without a limit.
const GRANTED: &str = "select least(\
    (select nullif(rolconnlimit, -1) from pg_roles where rolname = session_user and not rolsuper), \
    (select nullif(datconnlimit, -1) from pg_database where datname = current_database()), \
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int) as granted";

/// A server whose data exist keeps the password that they were made with.
const PASSWORD_ADVICE: &str = "; if POSTGRES_PASSWORD was changed after the data volume was made, set the old one, or \
    change the role's: ALTER ROLE ... PASSWORD";

/// How the server can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    /// A connection pooler is in between that does not keep the settings of a session.
    pub(super) is_pooled: bool,
    pub(super) connections: u32,
}

impl Access {
    /// Whether it cannot be used as `other` says.
    pub(super) fn is_narrower(self, other: Self) -> bool {
        self.connections < other.connections || (self.is_pooled && !other.is_pooled)
    }

    pub(super) fn halved(self) -> Self {
        let connections = (self.connections / 2).max(1);
        Self {
            connections,
            ..self
        }
    }
}

/// Why a connection was refused, with the address.
pub(super) struct Refusal {
    pub(super) cause: String,
    /// The server, the database or the role has no connection left.
    pub(super) is_full: bool,
}

pub(super) struct Server {
    options: PgConnectOptions,
    pub(super) max_connections: u32,
}

impl Server {
    /// `None` for a URL that is not PostgreSQL's.
    pub(super) fn parse(url: &str, max_connections: u32) -> Option<Self> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return None;
        }
        let options: PgConnectOptions = url.parse().ok()?;
        Some(Self {
            // Statements in the log would carry their values.
            options: options
                .application_name(&program())
                .extra_float_digits(None)
                .disable_statement_logging(),
            max_connections,
        })
    }

    /// Opens no connection yet.
    pub(super) fn pool(&self, access: Access) -> DatabaseConnection {
        let suspicion = Suspicion::new();
        let pool = PgPoolOptions::new()
            .max_connections(access.connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false);
        let mut pool = session::check_postgres(pool, suspicion.clone());
        if !access.is_pooled {
            pool = pool.after_connect(|connection, _| Box::pin(check_direct(connection)));
        }
        let pool = pool.connect_lazy_with(self.session_options(access.is_pooled));
        let mut db = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
        db.set_metric_callback(move |statement| {
            if statement.failed {
                suspicion.raise();
            }
        });
        db
    }

    /// Connects once. The pool itself repeats refused connections until its time is up, and does not report why.
    pub(super) async fn probe(&self) -> Result<Access, Refusal> {
        let direct = connect(&self.session_options(false)).await;
        let is_refused = direct.as_ref().err().is_some_and(is_protocol_violation);
        let connection = match direct {
            // PgBouncer refuses the settings of a session, unless it is told to ignore them.
            Err(_) if is_refused => connect(&self.session_options(true)).await,
            direct => direct,
        };
        let probed = match connection {
            Ok(connection) => self.examine(connection).await,
            Err(error) => Err(error),
        };
        probed.map_err(|error| self.refusal(&error))
    }

    async fn examine(&self, mut connection: PgConnection) -> Result<Access, SqlxError> {
        let examined = async {
            let is_pooled = check_direct(&mut connection).await.is_err();
            let granted = connection.fetch_one(GRANTED).await?;
            let granted = granted.try_get::<Option<i32>, _>("granted")?;
            // Nothing depends on a clean end.
            let _ = connection.close().await;
            Ok((is_pooled, granted))
        };
        let examined = timeout(CONNECT_TIMEOUT, examined).await;
        let (is_pooled, granted) = examined.unwrap_or_else(|_| Err(no_answer()))?;
        Ok(Access {
            is_pooled,
            connections: capped(self.max_connections, granted),
        })
    }

    /// How many more connections the server grants, up to `wanted`: opens them, and closes them again.
    pub(super) async fn spare(&self, access: Access, wanted: u32) -> u32 {
        let options = self.session_options(access.is_pooled);
        let mut open = Vec::new();
        for _ in 0..wanted {
            match connect(&options).await {
                Ok(connection) => open.push(connection),
                Err(_) => break,
            }
        }
        let spare = u32::try_from(open.len()).unwrap_or(wanted);
        for connection in open {
            let _ = connection.close().await;
        }
        spare
    }

    /// The cause of an error while the server grants connections.
    pub(super) fn busy(&self, access: Access) -> String {
        let connections = access.connections;
        format!(
            "{}: all {connections} connections are in use",
            self.address()
        )
    }

    fn session_options(&self, is_pooled: bool) -> PgConnectOptions {
        let options = self.options.clone();
        if is_pooled {
            // No names outlast a transaction.
            options.statement_cache_capacity(0)
        } else {
            options.options(SESSION)
        }
    }

    fn refusal(&self, error: &SqlxError) -> Refusal {
        let advice = match code(error).as_deref() {
            // invalid_password
            Some("28P01") => PASSWORD_ADVICE,
            _ => "",
        };
        Refusal {
            cause: format!("{}: {error}{advice}", self.address()),
            is_full: code(error).is_some_and(|code| code == "53300"),
        }
    }

    fn address(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => format!("PostgreSQL at {}", socket.display()),
            None => format!(
                "PostgreSQL at {}:{}",
                self.options.get_host(),
                self.options.get_port()
            ),
        }
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, SqlxError> {
    let connection = timeout(CONNECT_TIMEOUT, options.connect()).await;
    connection.unwrap_or_else(|_| Err(no_answer()))
}

async fn check_direct(connection: &mut PgConnection) -> Result<(), SqlxError> {
    let row = (&mut *connection).fetch_one(IS_DIRECT).await?;
    if row.try_get::<bool, _>("is_direct")? {
        Ok(())
    } else {
        let cause = "a connection pooler is between this service and PostgreSQL";
        Err(SqlxError::Configuration(cause.into()))
    }
}

fn code(error: &SqlxError) -> Option<String> {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.map(std::borrow::Cow::into_owned)
}

fn is_protocol_violation(error: &SqlxError) -> bool {
    code(error).is_some_and(|code| code.starts_with("08"))
}

/// Name of our connections in pg_stat_activity.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn capped(max_connections: u32, granted: Option<i32>) -> u32 {
    let granted = granted.and_then(|granted| u32::try_from(granted).ok());
    let granted = granted.unwrap_or(max_connections);
    granted.clamp(1, max_connections.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_capped_by_what_is_granted() {
        assert_eq!(capped(16, None), 16);
        assert_eq!(capped(16, Some(97)), 16);
        assert_eq!(capped(16, Some(4)), 4);
        assert_eq!(capped(16, Some(0)), 1);
    }

    #[test]
    fn address_has_no_secrets() {
        let server = Server::parse("postgres://me:hunter2@db.example:6000/x", 1).unwrap();
        assert_eq!(server.address(), "PostgreSQL at db.example:6000");
        assert!(Server::parse("mysql://me@db.example/x", 1).is_none());
        assert!(Server::parse("postgres://me:hunter2@[::broken/x", 1).is_none());
    }

    #[test]
    fn fewer_connections_and_a_pooler_narrow_the_access() {
        let access = |is_pooled, connections| Access {
            is_pooled,
            connections,
        };
        assert!(access(false, 4).is_narrower(access(false, 16)));
        assert!(access(true, 16).is_narrower(access(false, 16)));
        assert!(!access(false, 16).is_narrower(access(true, 4)));
        assert_eq!(access(false, 5).halved(), access(false, 2));
        assert_eq!(access(true, 1).halved(), access(true, 1));
    }
}
