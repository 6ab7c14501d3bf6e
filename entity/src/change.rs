//! The feed of changes: every row of the outbox, before and after the relay has moved it to the timeline, in an order in
//! which nothing appears behind a reader.
//!
//! Ids are assigned before the commit, so a lower one can become visible after a higher one. On Postgres a change is
//! ordered by its transaction first (or the transaction of an earlier change of the customer, if that has a higher
//! number), and read once no transaction that is as old is open. SQLite has one writer.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement};
use uuid::Uuid;

use crate::fields::Members;
use crate::message::Origin;
use crate::outbox::Kind;

/// The place of a change in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The transaction; 0 on SQLite.
    pub xid: i64,
    /// The outbox row.
    pub id: i64,
}

impl Position {
    /// Before every change.
    pub const START: Self = Self { xid: -1, id: 0 };
}

#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct Change {
    pub xid: i64,
    pub id: i64,
    pub customer_id: Uuid,
    pub rev: i64,
    pub kind: Kind,
    pub origin: Origin,
    pub fields: Members,
    pub at: DateTime<Utc>,
}

impl Change {
    pub fn position(&self) -> Position {
        Position {
            xid: self.xid,
            id: self.id,
        }
    }
}

/// The last position that no later commit can precede.
pub async fn horizon(db: &impl ConnectionTrait) -> Result<Position, DbErr> {
    let backend = db.get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) - 1 AS xid, \
             9223372036854775807 AS id"
    } else {
        "SELECT 0 AS xid, max(coalesce((SELECT max(id) FROM outbox), 0), \
             coalesce((SELECT max(change_id) FROM timeline), 0)) AS id"
    };
    let row = db
        .query_one_raw(Statement::from_string(backend, sql))
        .await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the horizon of changes".to_owned()))?;
    Ok(Position {
        xid: row.try_get("", "xid")?,
        id: row.try_get("", "id")?,
    })
}

/// One statement, so a row that the relay moves meanwhile is read exactly once.
const PAGE: &str = "\
    SELECT * FROM (\
        SELECT * FROM (\
            SELECT xid, id, customer_id, rev, kind, origin, fields, created_at AS at FROM outbox \
            WHERE (xid, id) > ($1, $2) AND (xid, id) <= ($3, $4) \
            ORDER BY xid, id LIMIT $5) AS waiting \
        UNION ALL \
        SELECT * FROM (\
            SELECT change_xid AS xid, change_id AS id, customer_id, rev, detail->>'kind' AS kind, \
                detail->>'origin' AS origin, detail->'fields' AS fields, change_at AS at FROM timeline \
            WHERE change_id IS NOT NULL AND (change_xid, change_id) > ($1, $2) AND (change_xid, change_id) <= ($3, $4) \
            ORDER BY change_xid, change_id LIMIT $5) AS published\
    ) AS change ORDER BY xid, id LIMIT $5";

/// The first `limit` changes behind `after`, up to a [`horizon`] that was read before.
pub async fn page(
    db: &impl ConnectionTrait,
    after: Position,
    horizon: Position,
    limit: u32,
) -> Result<Vec<Change>, DbErr> {
    let values = [
        after.xid.into(),
        after.id.into(),
        horizon.xid.into(),
        horizon.id.into(),
        i64::from(limit).into(),
    ];
    let page = Statement::from_sql_and_values(db.get_database_backend(), PAGE, values);
    Change::find_by_statement(page).all(db).await
}
