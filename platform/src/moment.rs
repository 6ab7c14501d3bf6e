//! Moments: the database's time, and a place in an order that no step of a clock changes.

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::clock::Clock;

/// The database's time, and a number above that of every moment before.
///
/// One statement on Postgres, whose sequence all processes share. On SQLite, which one process uses, `clock` counts.
pub async fn moment(
    db: &impl ConnectionTrait,
    clock: &Clock,
) -> Result<(DateTime<Utc>, i64), DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok((clock.now().trunc_subsecs(6), clock.next_moment()));
    }
    let sql = "select clock_timestamp() as now, next_moment() as moment";
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let row = db.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("next_moment() gave no row".to_owned()))?;
    Ok((row.try_get("", "now")?, row.try_get("", "moment")?))
}
