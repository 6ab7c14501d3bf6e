//! Which database of the data folder is used. The sandbox's customers have one of their own, so that a key of an
//! account never meets them.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use platform::config::Secret;
use platform::database::{self, Database};
use platform::sqlite_file;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sync_worker::config::SANDBOX_ACCOUNT;

use crate::arguments::Arguments;

/// The database of the built-in sandbox.
const SANDBOX: &str = "sandbox.db";

/// The database of an account, or of another server that STRIPE_API_BASE names.
const ACCOUNT: &str = "customer-sync.db";

/// The database that these settings select, where none is named.
pub(crate) fn selected(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    let name = match arguments.worker.uses_sandbox()? {
        true => SANDBOX,
        false => ACCOUNT,
    };
    Ok(arguments.data_dir.join(name))
}

/// The database that other settings select, if there is one.
pub(crate) fn unused(arguments: &Arguments) -> anyhow::Result<Option<PathBuf>> {
    let selected = selected(arguments)?;
    let all = databases(&arguments.data_dir).into_iter();
    let mut others = all.filter(|file| *file != selected && file.exists());
    Ok(others.next())
}

/// Every database that a folder can have.
pub(crate) fn databases(data_dir: &Path) -> [PathBuf; 2] {
    [SANDBOX, ACCOUNT].map(|name| data_dir.join(name))
}

/// Where the sandbox of a folder keeps its customers.
pub(crate) fn sandbox_file(data_dir: &Path) -> PathBuf {
    data_dir.join("sandbox.jsonl")
}

/// Renames the database of the sandbox where an older version has named it as that of an account. The folder is this
/// process's.
pub(crate) async fn upgrade(data_dir: &Path) -> anyhow::Result<()> {
    let [sandbox, account] = databases(data_dir);
    // This version makes the database before the sandbox's file, so only an older one leaves the file without it.
    if sandbox.exists() || !sandbox_file(data_dir).exists() || !account.exists() {
        return Ok(());
    }
    let shown = account.display();
    let url = sqlite_file::url_of(&account)?;
    let _in_use = sqlite_file::take(&url)?;
    let db = database::connect(&Secret::new(url), 1)
        .await
        .with_context(|| format!("opening the database {shown}"))?;
    let pinned = pinned_account(&db)
        .await
        .with_context(|| format!("reading whose database {shown} is"))?;
    db.close()
        .await
        .with_context(|| format!("closing the database {shown}"))?;
    if pinned.is_some_and(|pinned| pinned != SANDBOX_ACCOUNT) {
        return Ok(());
    }
    let [_, log, _] = sqlite_file::with_logs(&account);
    ensure!(
        !log.exists(),
        "the database {shown} is the sandbox's and cannot be renamed to {}, because its log {} is not merged",
        sandbox.display(),
        log.display()
    );
    std::fs::rename(&account, &sandbox)
        .with_context(|| format!("renaming the database {shown} to {}", sandbox.display()))?;
    tracing::info!(
        "the sandbox's database {shown} is {} from now on",
        sandbox.display()
    );
    Ok(())
}

/// By SQL that reads the schema of any version.
async fn pinned_account(db: &Database) -> Result<Option<String>, DbErr> {
    let statement = |sql| Statement::from_string(DbBackend::Sqlite, sql);
    let tables = "SELECT name FROM sqlite_master WHERE name = 'downsync_state'";
    if db.query_one_raw(statement(tables)).await?.is_none() {
        return Ok(None);
    }
    let pinned = "SELECT account_id FROM downsync_state WHERE account_id IS NOT NULL";
    let row = db.query_one_raw(statement(pinned)).await?;
    row.map(|row| row.try_get("", "account_id")).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandbox_account_is_the_sandboxs_default() {
        let options = stripe_sandbox::Options::default();
        assert_eq!(options.account_id, SANDBOX_ACCOUNT);
    }
}
