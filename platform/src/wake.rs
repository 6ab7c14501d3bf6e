//! A wake-up between loops: inside a process by a signal, between processes by Postgres' NOTIFY. It
//! only saves time: the poll of the loop that is woken is the truth.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::Secret;
use crate::database::{Database, within_bounds};

/// A signal that remembers one wake-up. Clones share it; it has one listener.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Wakes the listener, now or at its next `woken`. Many wakes before that are one.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Resolves when somebody called `wake` since the last time it resolved. Cancelling it loses no
    /// wake-up.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}

/// Sends a NOTIFY on `channel` for each (coalesced) wake-up, until `stop`. Postgres only.
///
/// On a connection of its own accord and never inside a write's transaction, because a transaction
/// that notifies takes a lock over all commits of the server. Errors are logged once: the listeners
/// poll.
pub async fn forward(
    db: Database,
    channel: &'static str,
    wake: Wake,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = wake.woken() => {}
        }
        let statement = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "select pg_notify($1, '')",
            [channel.into()],
        );
        match within_bounds(db.execute_raw(statement)).await {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(channel, "sending a notification: {error}");
            }
            Err(_) => {}
        }
    }
}

/// How long the connection may be silent before it is checked.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
const RECONNECT: Backoff = Backoff {
    first: Duration::from_millis(250),
    cap: Duration::from_secs(30),
};

/// Wakes `wake` for each notification on `channel`, until `stop`, on a connection of its own.
/// Postgres only.
///
/// It reconnects for ever, and wakes after every reconnect, because notifications sent meanwhile
/// are gone. A connection pooler forwards no notifications; then the polls remain.
pub async fn listen(
    (db, url): (Database, Secret),
    channel: &'static str,
    wake: Wake,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut attempt = 0;
    loop {
        if db.is_pooled() {
            stop.cancelled().await;
            return Ok(());
        }
        let ended = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = session(&url, channel, &wake, &mut attempt) => ended,
        };
        attempt += 1;
        if attempt == 1 {
            match ended {
                Ok(()) => tracing::warn!(channel, "the connection for notifications was closed"),
                Err(error) => tracing::warn!(channel, "listening for notifications: {error}"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(RECONNECT.jittered(attempt)) => {}
        }
    }
}

/// Listens until the connection ends.
async fn session(
    url: &Secret,
    channel: &str,
    wake: &Wake,
    attempt: &mut u32,
) -> Result<(), sea_orm::sqlx::Error> {
    let mut listener = answered(PgListener::connect(url.expose())).await?;
    listener.eager_reconnect(false);
    answered(listener.listen(channel)).await?;
    *attempt = 0;
    wake.wake();
    loop {
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_))) => wake.wake(),
            Ok(ended) => return ended.map(|_| ()),
            // A connection that a firewall forgot says nothing for ever; asking it something finds
            // out.
            Err(_) => {
                answered(sea_orm::sqlx::query("select 1").execute(&mut listener)).await?;
            }
        }
    }
}

/// Nothing comes back over a link that has died without a word, not even an error.
async fn answered<T>(
    work: impl Future<Output = Result<T, sea_orm::sqlx::Error>>,
) -> Result<T, sea_orm::sqlx::Error> {
    let answer = tokio::time::timeout(ANSWER, work).await;
    answer.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost_and_many_are_one() {
        let wake = Wake::default();
        assert!(wake.woken().now_or_never().is_none());
        for _ in 0..3 {
            wake.clone().wake();
        }
        assert!(wake.woken().now_or_never().is_some());
        assert!(wake.woken().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_wait_that_was_woken_and_cancelled_leaves_the_wake_up_to_the_next() {
        let wake = Wake::default();
        let mut waiting = Box::pin(wake.woken());
        assert!((&mut waiting).now_or_never().is_none());
        wake.wake();
        drop(waiting);
        assert!(wake.woken().now_or_never().is_some());
    }
}
