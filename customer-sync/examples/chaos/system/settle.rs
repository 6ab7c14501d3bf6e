//! Waits until everything has arrived: nothing is on its way, and a full pass finds nothing to do.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use platform::database::Database;
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

/// What is on its way, by kind; nothing is when all are zero.
#[derive(Debug, FromQueryResult, PartialEq)]
pub(crate) struct Waiting {
    outbox: i64,
    unpushed: i64,
    due: i64,
    events: i64,
}

/// A parked customer waits for a person, not for us.
const WAITING: &str = "\
    select (select count(*) from outbox) as outbox, \
        (select count(*) from customer c left join stripe_link l on l.customer_id = c.id \
            where coalesce(l.synced_rev, 0) < c.rev and not (l.parked_reason is not null \
            and l.parked_rev >= c.rev)) as unpushed, \
        (select count(*) from stripe_link where next_attempt_at is not null \
            or recheck_at is not null) as due, \
        (select count(*) from stripe_event where processed_at is null) as events";

/// A pass that began at least so long after everything was healed, and found nothing. It looks again at each customer in
/// Stripe that waits for a person because it belongs to no row.
const QUIET_PASS: &str = "\
    select count(*) as passes from downsync_state where pass_completed_at is not null \
        and pass_started_at > $1::timestamptz \
        and (pass_counts->>'drifts')::int <= (select count(*) from unmatched) \
        and (pass_counts->>'deletions')::int = 0 and (pass_counts->>'missed')::int = 0";

/// Waits, for at most `limit`; returns how long it took.
///
/// # Errors
/// It does not settle; the text says what still waits.
pub(crate) async fn settle(db: &Database, limit: Duration) -> anyhow::Result<Duration> {
    let started = Instant::now();
    loop {
        let waiting = waiting(db).await?;
        if waiting.is_nothing() {
            let since = clock(db).await?;
            if quiet_pass(db, &since, (started, limit)).await? {
                return Ok(started.elapsed());
            }
        } else if started.elapsed() > limit {
            bail!("not settled after {limit:?}: {waiting:?}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether a pass that begins from now on finds nothing, and nothing is on its way after it.
async fn quiet_pass(
    db: &Database,
    since: &str,
    (started, limit): (Instant, Duration),
) -> anyhow::Result<bool> {
    loop {
        let statement =
            Statement::from_sql_and_values(DbBackend::Postgres, QUIET_PASS, [since.into()]);
        let row = db.query_one_raw(statement).await?;
        let passes: i64 = row.context("a count has a row")?.try_get("", "passes")?;
        let waiting = waiting(db).await?;
        if !waiting.is_nothing() {
            return Ok(false);
        }
        if passes > 0 {
            return Ok(true);
        }
        if started.elapsed() > limit {
            bail!("not settled after {limit:?}: no full pass that finds nothing to do");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn waiting(db: &Database) -> anyhow::Result<Waiting> {
    let statement = Statement::from_string(DbBackend::Postgres, WAITING);
    let found = Waiting::find_by_statement(statement).one(db).await?;
    found.context("counts have a row")
}

async fn clock(db: &Database) -> anyhow::Result<String> {
    let statement =
        Statement::from_string(DbBackend::Postgres, "select clock_timestamp()::text as now");
    let row = db.query_one_raw(statement).await?;
    Ok(row.context("a clock has a row")?.try_get("", "now")?)
}

impl Waiting {
    fn is_nothing(&self) -> bool {
        let Self {
            outbox,
            unpushed,
            due,
            events,
        } = self;
        [outbox, unpushed, due, events] == [&0; 4]
    }
}
