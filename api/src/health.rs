//! Readiness of the API: the schema is this version's, the role has the privileges that the API uses, and a write is
//! committed. Nothing else has to be up for a write to be accepted; that no relay or no worker is alive, or what they
//! report as wrong, is reported from their heartbeats and leaves the API ready.
//!
//! A loop of its own makes the checks and the readiness page shows the last result, so probes cost the database
//! nothing and none of them waits for it.

use std::time::Duration;

use migration::schema::{self, Schema};
use platform::backoff;
use platform::clock::Clock;
use platform::database::Database;
use platform::health::{Component, Health, Problem};
use platform::heartbeat::{Recorder, Role, explain};
use sea_orm::DbErr;
use tokio::time::{Instant, sleep, timeout};

use crate::services::Services;

mod privilege;

const INTERVAL: Duration = Duration::from_secs(3);
/// For all statements of a check together.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Two checks in vain, their interval, and then some.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// The parts of the readiness page.
pub(crate) struct Readiness {
    db: Database,
    clock: Clock,
    recorder: Recorder,
    database: Component,
    schema: Component,
    relays: Component,
    workers: Component,
    /// Whether the schema was ever this version's.
    has_matched: bool,
    /// What was logged last.
    logged: Option<String>,
    started_at: Instant,
}

/// In the first moments of an installation the other services are only starting.
const START: Duration = Duration::from_secs(30);

/// Why the API is not ready.
#[derive(Debug)]
enum Refusal {
    /// What anyone may read.
    Known(String),
    /// The error may name a user or a host, so it goes to the log only.
    Failed(DbErr),
}

impl From<DbErr> for Refusal {
    fn from(error: DbErr) -> Self {
        Self::Failed(error)
    }
}

impl Readiness {
    pub(crate) fn new(db: Database, clock: Clock, health: &Health) -> Self {
        // The API has nothing to record but that it is alive: the database is all that it needs.
        let recorder = Recorder::new(db.clone(), clock.clone(), Role::Api, Health::new());
        Self {
            db,
            clock,
            recorder,
            database: health.component("database", STALLED_AFTER),
            schema: health.optional("schema", STALLED_AFTER),
            relays: health.optional("relays", STALLED_AFTER),
            workers: health.optional("workers", STALLED_AFTER),
            has_matched: false,
            logged: None,
            started_at: Instant::now(),
        }
    }

    /// Checks for ever.
    pub(crate) async fn watch(mut self) -> anyhow::Result<()> {
        loop {
            self.check().await;
            sleep(backoff::jitter(INTERVAL)).await;
        }
    }

    async fn check(&mut self) {
        let late = || Refusal::Known("the database did not commit a write within 5 seconds".into());
        let checked = timeout(TIMEOUT, self.check_database()).await;
        match checked.unwrap_or_else(|_| Err(late())) {
            Ok(()) => {
                self.logged = None;
                self.database.ok();
            }
            Err(Refusal::Known(problem)) => self.database.problem(problem),
            Err(Refusal::Failed(error)) => {
                let text = error.to_string();
                if self.logged.as_ref() != Some(&text) {
                    tracing::warn!("checking whether the database accepts writes: {text}");
                }
                self.logged = Some(text);
                self.database.problem(explain(&error));
                return;
            }
        }
        let services = timeout(TIMEOUT, Services::read(&self.db, &self.clock)).await;
        // Not known is not wrong: the database's own part reports why.
        if let Ok(Ok(services)) = services {
            for (component, group) in [
                (&self.relays, &services.relays),
                (&self.workers, &services.workers),
            ] {
                let Some(problem) = group.problem().map(Problem::new) else {
                    component.ok();
                    continue;
                };
                // What living processes report is in their own logs.
                let is_news = group.alive().is_empty() && self.started_at.elapsed() > START;
                component.problem(if is_news { problem } else { problem.unlogged() });
            }
        }
    }

    async fn check_database(&mut self) -> Result<(), Refusal> {
        let schema = schema::read(&self.db).await?;
        match (&schema, schema.problem()) {
            (_, None) => {
                self.has_matched = true;
                self.schema.ok();
            }
            // It was migrated under a running process: that one serves until it is replaced.
            (Schema::Newer(_), Some(problem)) if self.has_matched => self.schema.problem(problem),
            (_, Some(problem)) => return Err(Refusal::Known(problem)),
        }
        let missing = privilege::missing(&self.db).await?;
        if !missing.is_empty() {
            return Err(Refusal::Known(format!(
                "the role of DATABASE_URL lacks privileges: grant it {}",
                missing.join(", ")
            )));
        }
        self.recorder.beat().await?;
        Ok(())
    }
}
