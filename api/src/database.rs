//! How the API bears a database that is away: reads and the opening of a transaction try again for a while, because
//! they have changed nothing yet; then the answer is 503.

use std::time::Duration;

use platform::backoff;
use platform::database::{Database, is_unavailable, is_undone};
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::problem::Problem;

/// How long a request waits for the database.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change may take, its waiting for others included.
const LONGEST: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Opens a transaction.
pub(crate) async fn begin(db: &Database) -> Result<DatabaseTransaction, Problem> {
    patiently(|| platform::database::begin(db)).await
}

/// Does what changes nothing, again and again while the database is away. A pool may hold a dead connection for each
/// of its places after a restart of the server: each attempt throws one out.
pub(crate) async fn patiently<T, F, A>(attempt: F) -> Result<T, Problem>
where
    F: Fn() -> A,
    A: Future<Output = Result<T, DbErr>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) if is_unavailable(&error) && Instant::now() + pause < deadline => {
                last = Some(error);
                sleep(backoff::jitter(pause)).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
            Ok(Err(error)) => return Err(problem(error)),
            Err(_) => {
                let silent = || Problem::unavailable().because("no answer within 5 seconds");
                return Err(last.map_or_else(silent, problem));
            }
        }
    }
}

/// Does what changes something, for a bounded time. Where the database has refused the whole transaction (a deadlock, a
/// serialization failure, a session that became read-only), nothing was done, and it is done again, once.
pub(crate) async fn past_deadlocks<T, F, A>(attempt: F) -> Result<T, Problem>
where
    F: Fn() -> A,
    A: Future<Output = Result<T, Problem>>,
{
    match bounded(attempt()).await {
        Err(problem) if problem.cause().is_some_and(is_undone) => bounded(attempt()).await,
        done => done,
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    match timeout(LONGEST, work).await {
        Ok(done) => done,
        // Without this a link that has died without a word would keep the request for ever.
        Err(_) => {
            Err(Problem::unavailable().because("the change was not through within 10 seconds"))
        }
    }
}

/// What a client is told of an error: 503 where trying again can help.
pub(crate) fn problem(error: DbErr) -> Problem {
    if is_unavailable(&error) {
        Problem::unavailable().because(error)
    } else {
        Problem::internal().because(error)
    }
}
