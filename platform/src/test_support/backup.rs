//! Backups of test databases, taken and restored as an operator does it.

use std::path::Path;
use std::process::Command;

use sea_orm::ConnectionTrait;

use super::{Place, TestDatabase, create_postgres};
use crate::config::Secret;

impl TestDatabase {
    /// Writes a backup to a new file: by pg_dump, or as a copy of the SQLite file.
    pub async fn back_up(&self, file: &Path) {
        if self.is_postgres() {
            run(Command::new("pg_dump")
                .arg("--format=custom")
                .arg("--file")
                .arg(file)
                .arg(self.url.expose()));
        } else {
            let copy = format!("VACUUM INTO '{}'", file.display());
            let copied = self.connection.execute_unprepared(&copy).await;
            copied.expect("SQLite copies itself into a new file");
        }
    }

    /// Another database, restored from a backup of this one.
    pub async fn restored(&self, file: &Path) -> Self {
        if self.is_postgres() {
            let (url, place) = create_postgres().await;
            run(Command::new("pg_restore")
                .arg("--no-owner")
                .arg("--dbname")
                .arg(url.expose())
                .arg(file));
            Self::opened(url, place).await
        } else {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let place = directory.path().join("restored.db");
            std::fs::copy(file, &place).expect("a file can be copied");
            let url = Secret::new(format!("sqlite:{}", place.display()));
            Self::opened(url, Place::Directory(directory)).await
        }
    }

    fn is_postgres(&self) -> bool {
        self.connection.get_database_backend() == sea_orm::DbBackend::Postgres
    }
}

fn run(command: &mut Command) {
    let status = command.status();
    let status = status.expect("PostgreSQL's client programs are in the PATH");
    assert!(status.success(), "{command:?}: {status}");
}
