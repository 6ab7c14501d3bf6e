//! Readiness of the API: the database answers. Nothing else has to be up for a write to be accepted.

use std::time::Duration;

use platform::backoff;
use platform::database::Database;
use platform::health::Component;
use sea_orm::ConnectionTrait;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(2);
/// A probe, its patience and then some.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(15);

/// Asks the database again and again, until `stop`.
pub(crate) async fn watch(
    db: Database,
    component: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut answered = true;
    loop {
        let refusal = probe(&db).await.err();
        match &refusal {
            None => component.ok(),
            // Everybody may read this; the reason may name a user or a host, so it goes to the log only.
            Some(reason) => {
                if answered {
                    tracing::warn!("asking the database whether it is there: {reason}");
                }
                component.problem("the database does not answer");
            }
        }
        answered = refusal.is_none();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(backoff::jitter(INTERVAL)) => {}
        }
    }
}

/// Whether the database answers, within 2 seconds.
async fn probe(db: &Database) -> Result<(), String> {
    match timeout(PATIENCE, db.execute_unprepared("select 1")).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer within 2 seconds".to_owned()),
    }
}
