//! PgBouncer in transaction mode between two processes and PostgreSQL.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::Duration;

use platform::config::Secret;
use platform::database::{self, Database};
use platform::test_support::{TestDatabase, postgres, until};
use platform::wake::{self, Wake};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::database::{increment, number, run};

struct PgBouncer {
    /// Of the database, through PgBouncer.
    url: Secret,
    _process: Child,
    _folder: TempDir,
}

impl PgBouncer {
    /// Ends when it is dropped. It refuses the parameters of a start-up that it neither knows nor ignores.
    async fn start(database: &TestDatabase, ignored: &str) -> Self {
        let (_, place) = database.url.expose().split_once("://").unwrap();
        let (user, place) = place.split_once('@').unwrap();
        let (server, name) = place.split_once('/').unwrap();
        let (host, server_port) = server.split_once(':').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("pgbouncer.ini");
        let port = address.port();
        let text = format!(
            "[databases]\n* = host={host} port={server_port} user={user}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nignore_startup_parameters = {ignored}\n"
        );
        std::fs::write(&config, text).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = Command::new("pgbouncer");
        // It does not run as root.
        if std::fs::metadata(&config).unwrap().uid() == 0 {
            command.args(["-u", "nobody"]);
        }
        let process = command
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer starts; scripts/install pgbouncer installs it");
        until("pgbouncer listens", Duration::from_secs(10), async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        Self {
            url: Secret::new(format!("postgres://{user}@{address}/{name}")),
            _process: process,
            _folder: folder,
        }
    }
}

/// Statements of other texts and other numbers of parameters for each process, under the names of the same driver.
async fn sum(db: &Database, parameters: i64) {
    let terms: Vec<_> = (1..=parameters).map(|n| format!("${n}::bigint")).collect();
    let sql = format!("select {}", terms.join(" + "));
    let values = (1..=parameters).map(sea_orm::Value::from);
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    let sum: i64 = row.try_get_by_index(0).unwrap();
    assert_eq!(sum, parameters * (parameters + 1) / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_work_through_pgbouncer() {
    for ignored in ["", "extra_float_digits, options"] {
        let database = postgres().await;
        run(
            &database.connection,
            "create table counter (value bigint not null)",
        )
        .await;
        run(&database.connection, "insert into counter values (0)").await;
        let pooler = PgBouncer::start(&database, ignored).await;
        let mut running = JoinSet::new();
        for process in 0..2 {
            let db = database::connect(&pooler.url, 8).await.unwrap();
            assert!(db.is_pooled(), "{ignored:?}");
            for task in 0..6 {
                let db = db.clone();
                running.spawn(async move {
                    for round in 0..10 {
                        increment(&db).await;
                        sum(&db, 1 + (process + task + round) % 4).await;
                    }
                });
            }
        }
        running.join_all().await;
        let select = "select value from counter";
        assert_eq!(number(&database.connection, select).await, 120);
    }
}

#[tokio::test]
async fn pooled_transaction_has_its_own_settings() {
    let database = postgres().await;
    let name = database.url.expose().rsplit('/').next().unwrap();
    let set = format!("alter database {name} set default_transaction_isolation = 'serializable'");
    run(&database.connection, &set).await;
    let pooler = PgBouncer::start(&database, "").await;
    let db = database::connect(&pooler.url, 2).await.unwrap();
    let tx = database::begin(&db).await.unwrap();
    for (setting, expected) in [
        ("transaction_isolation", "read committed"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("TimeZone", "UTC"),
    ] {
        let statement = Statement::from_string(DbBackend::Postgres, format!("show {setting}"));
        let row = tx.query_one_raw(statement).await.unwrap().unwrap();
        let value: String = row.try_get_by_index(0).unwrap();
        assert_eq!(value, expected, "{setting}");
    }
}

#[tokio::test]
async fn listener_does_not_use_a_pooler() {
    let database = postgres().await;
    let pooler = PgBouncer::start(&database, "extra_float_digits, options").await;
    let db = database::connect(&pooler.url, 2).await.unwrap();
    let stop = CancellationToken::new();
    let mut listening = JoinSet::new();
    listening.spawn(wake::listen(
        (db, pooler.url.clone()),
        "things",
        Wake::default(),
        stop.clone(),
    ));
    let early = tokio::time::timeout(Duration::from_secs(1), listening.join_next()).await;
    assert!(early.is_err(), "it ended: {early:?}");
    let listeners = "select count(*) from pg_stat_activity \
        where datname = current_database() and query like 'LISTEN%'";
    assert_eq!(number(&database.connection, listeners).await, 0);
    stop.cancel();
    listening.join_next().await.unwrap().unwrap().unwrap();
}
