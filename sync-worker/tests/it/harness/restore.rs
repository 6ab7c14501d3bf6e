//! Backups of both sides, and a worker that starts on what was restored.

use std::path::PathBuf;
use std::time::Duration;

use platform::test_support::TestDatabase;
use tempfile::TempDir;

use super::{Setup, World, start_sandbox};

/// The sides that are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    Database,
    Stripe,
    Both,
}

/// Both sides as they were at one moment.
pub(crate) struct Backup(TempDir);

impl Backup {
    fn database(&self) -> PathBuf {
        self.0.path().join("database")
    }

    fn stripe(&self) -> PathBuf {
        self.0.path().join("stripe")
    }
}

impl World {
    /// Whose Stripe is kept in a file.
    pub(crate) async fn on_files(database: TestDatabase, folder: &TempDir) -> Self {
        let mut setup = Setup::default();
        setup.sandbox.file = Some(folder.path().join("account"));
        // What Stripe makes after it was restored has other ids.
        setup.sandbox.seed = None;
        Self::on(database, setup).await
    }

    pub(crate) async fn back_up(&self) -> Backup {
        let backup = Backup(tempfile::tempdir().unwrap());
        self.database.back_up(&backup.database()).await;
        let file = self.stripe.sandbox.options().file.as_ref();
        std::fs::copy(file.unwrap(), backup.stripe()).unwrap();
        backup
    }

    /// Every process ends; they start again on what was restored.
    pub(crate) async fn restored(self, backup: &Backup, sides: Restored) -> Self {
        let Self {
            engine,
            stripe,
            _tasks: tasks,
            database,
            ..
        } = self;
        drop(tasks);
        let database = match sides {
            Restored::Stripe => database,
            Restored::Database | Restored::Both => database.restored(&backup.database()).await,
        };
        let stripe = match sides {
            Restored::Database => stripe,
            Restored::Stripe | Restored::Both => {
                let mut options = stripe.sandbox.options().clone();
                stripe.stop().await.unwrap();
                let file = backup.0.path().join("restored");
                std::fs::copy(backup.stripe(), &file).unwrap();
                options.file = Some(file);
                start_sandbox(options).await
            }
        };
        let parts = (engine.clock.clone(), engine.policy, Duration::from_secs(10));
        Self::of(database, stripe, parts)
    }
}
