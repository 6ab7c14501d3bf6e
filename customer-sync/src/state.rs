//! What the process keeps on disk: its folder, which one process may use at a time, and its database.

use std::fs::{DirBuilder, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use migration::schema::Schema;
use migration::{Migrator, MigratorTrait, schema};
use platform::backoff::Backoff;
use platform::config::Secret;
use platform::database::{self, Database};
use platform::sqlite_file;
use sea_orm::{DbBackend, DbErr};

use crate::arguments::Arguments;
use crate::layout;

/// Between attempts to apply the schema.
const MIGRATION_RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(10),
};

/// The folder, locked until this is dropped or the process dies.
pub(crate) struct Folder {
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is missing and takes it for this process.
    ///
    /// # Errors
    /// Another process has it: two on one SQLite file would each take the other's pushes for dead.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        let mut folder = DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder
            .create(path)
            .with_context(|| format!("making the folder {} (DATA_DIR)", path.display()))?;
        let lock = sqlite_file::lock(&path.join("lock"))?.with_context(|| {
            format!(
                "another customer-sync uses {}; stop it, or give this one another DATA_DIR",
                path.display()
            )
        })?;
        // Older versions left them as the umask had them.
        for database in layout::databases(path) {
            for file in sqlite_file::with_logs(&database) {
                sqlite_file::make_private(&file);
            }
        }
        sqlite_file::make_private(&layout::sandbox_file(path));
        Ok(Self { _lock: lock })
    }
}

/// The database, with the schema in place.
pub(crate) async fn open(arguments: &Arguments) -> anyhow::Result<(Database, Secret)> {
    let url = url(arguments)?;
    let db = database::connect_lazy(&url, arguments.database_connections)
        .await
        .context("opening the database")?;
    let schema = migrate(&db)
        .await
        .context("bringing the database to this version's schema")?;
    match schema.problem() {
        Some(problem) => bail!("{problem}"),
        None => Ok((db, url)),
    }
}

/// Applies the schema as soon as the database can be used. SQLite is used by this process alone: there is nothing to
/// wait for.
async fn migrate(db: &Database) -> Result<Schema, DbErr> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match migrate_once(db).await {
            Err(error)
                if database::is_unavailable(&error)
                    && db.get_database_backend() == DbBackend::Postgres =>
            {
                tracing::warn!("the schema cannot be applied yet, trying again: {error}");
                tokio::time::sleep(MIGRATION_RETRY.jittered(attempt)).await;
            }
            done => return done,
        }
    }
}

/// Nothing is applied where nothing is missing, so a role that owns no table can start the process. Returns the schema
/// that the database has then.
async fn migrate_once(db: &Database) -> Result<Schema, DbErr> {
    let schema = schema::read(db).await?;
    if !matches!(schema, Schema::Missing | Schema::Older(_)) {
        return Ok(schema);
    }
    if let Schema::Older(missing) = &schema {
        tracing::info!(
            migrations = missing.len(),
            "updating the schema of the database"
        );
    }
    if db.is_pooled() || db.get_database_backend() == DbBackend::Sqlite {
        // A connection pooler keeps a session for the time of a transaction. On SQLite the migrator opens none, and a
        // migration that is killed would leave a part of itself.
        let tx = database::begin(db).await?;
        Migrator::up(&tx, None).await?;
        tx.commit().await?;
    } else {
        Migrator::up(&db.connection(), None).await?;
    }
    schema::read(db).await
}

/// Where the database is.
pub(crate) fn url(arguments: &Arguments) -> anyhow::Result<Secret> {
    match arguments.database_url()? {
        Some(url) => Ok(url),
        None => {
            let url = sqlite_file::url_of(&layout::selected(arguments)?)?;
            Ok(Secret::new(url))
        }
    }
}
