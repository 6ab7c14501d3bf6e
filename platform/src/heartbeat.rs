//! Heartbeats: each process of an installation records in the database that it is alive, and what it reports as wrong.
//! So any other process can tell, from the database alone, which processes are alive and why work does not go on.
//!
//! All times are the database's clock, and are compared with that clock only. A process that stops by itself records
//! that; one that was killed is silent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, FromJsonQueryResult, QueryOrder};
use serde::{Deserialize, Serialize};

pub use failure::explain;
pub use record::{Recorder, run};

mod failure;
mod record;

/// Between two heartbeats of a process.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// A process counts as alive for this long after its last heartbeat.
pub const LIVENESS_TIMEOUT: chrono::Duration = chrono::Duration::seconds(20);

/// How long a process that is not alive any more is remembered while others of its role are.
const RETENTION: chrono::Duration = chrono::Duration::hours(1);

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "worker")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub started_at: DateTimeUtc,
    /// The last heartbeat.
    pub seen_at: DateTimeUtc,
    pub role: Role,
    pub report: Option<Report>,
    /// When the process stopped by itself.
    pub stopped_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a process does.
#[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Role {
    Api,
    Relay,
    Worker,
}

/// What a process reports as wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(default)]
pub struct Report {
    pub problems: Vec<Problem>,
}

/// A problem of one component of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub component: String,
    /// A stable word for it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub detail: String,
    pub since: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
}

impl Model {
    /// A heartbeat that seems to come from the future was made before the clock stepped back: a living process makes
    /// another one within [`INTERVAL`].
    pub fn is_alive(&self, now: DateTime<Utc>) -> bool {
        self.stopped_at.is_none() && (now - self.seen_at).abs() < LIVENESS_TIMEOUT
    }

    /// When it was alive for the last time.
    pub fn last_alive_at(&self) -> DateTime<Utc> {
        self.stopped_at.unwrap_or(self.seen_at)
    }

    pub fn problems(&self) -> &[Problem] {
        self.report.as_ref().map_or(&[], |report| &report.problems)
    }
}

/// Records a heartbeat.
pub async fn beat(
    db: &impl ConnectionTrait,
    (id, role): (Uuid, Role),
    report: Report,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        id: Set(id),
        started_at: Set(now),
        seen_at: Set(now),
        role: Set(role),
        report: Set(Some(report)),
        stopped_at: Set(None),
    };
    let again = OnConflict::column(Column::Id)
        .update_columns([Column::SeenAt, Column::Report, Column::StoppedAt])
        .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Records that a process stops by itself.
pub async fn stop(db: &impl ConnectionTrait, id: Uuid, now: DateTime<Utc>) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::SeenAt, Expr::value(now))
        .col_expr(Column::StoppedAt, Expr::value(Some(now)))
        .filter(Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Forgets the processes of a role that were last alive an hour ago or longer. Called with each heartbeat, so the last
/// process of a role is not forgotten.
pub async fn forget(
    db: &impl ConnectionTrait,
    role: Role,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::Role.eq(role))
        .filter(Column::SeenAt.lte(now - RETENTION))
        .exec(db)
        .await?;
    Ok(())
}

/// The processes of a role that are remembered, the one that was seen last first.
pub async fn of_role(db: &impl ConnectionTrait, role: Role) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Role.eq(role))
        .order_by_desc(Column::SeenAt)
        .all(db)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seen_at: DateTime<Utc>) -> Model {
        Model {
            id: Uuid::nil(),
            started_at: seen_at,
            seen_at,
            role: Role::Worker,
            report: None,
            stopped_at: None,
        }
    }

    #[test]
    fn process_is_alive_until_it_is_silent_or_stops() {
        let now = DateTime::UNIX_EPOCH;
        let second = chrono::Duration::seconds(1);
        assert!(row(now).is_alive(now));
        assert!(row(now).is_alive(now + second * 19));
        assert!(!row(now).is_alive(now + second * 20));
        let stopped = Model {
            stopped_at: Some(now),
            ..row(now)
        };
        assert!(!stopped.is_alive(now));
    }

    #[test]
    fn clock_step_back_keeps_no_dead_process_alive() {
        let now = DateTime::UNIX_EPOCH;
        let before_the_step = row(now + chrono::Duration::minutes(10));
        assert!(!before_the_step.is_alive(now));
    }
}
