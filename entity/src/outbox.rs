//! The outbox: a row for every change of a customer, until the broker has confirmed it.
//!
//! A row is written in the transaction of the change and nowhere else; that is why `enqueue` takes a
//! transaction and not a connection.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    DatabaseTransaction, DbBackend, QueryOrder, QuerySelect, QueryTrait, Statement,
};
use serde::{Deserialize, Serialize};

use crate::customer;
use crate::fields::Members;
use crate::message::{CREATED, Changed, DELETED, Origin, UPDATED};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub customer_id: Uuid,
    pub rev: i64,
    pub kind: Kind,
    pub origin: Origin,
    /// The fields that it changed.
    pub fields: Members,
    /// [`customer::Model::change_xid`] at that rev.
    pub xid: i64,
    /// The state at that rev ([`Changed`]), for consumers other than the sync worker.
    pub payload: Json,
    /// The W3C trace context of the request or the drift that made the change.
    pub traceparent: Option<String>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    Created,
    Updated,
    Deleted,
}

impl Kind {
    /// The routing key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Created => CREATED,
            Self::Updated => UPDATED,
            Self::Deleted => DELETED,
        }
    }

    /// The CloudEvents type.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::Created => "dev.customer-sync.customer.created",
            Self::Updated => "dev.customer-sync.customer.updated",
            Self::Deleted => "dev.customer-sync.customer.deleted",
        }
    }
}

/// Adds the change that made `customer` what it is now.
pub async fn enqueue(
    tx: &DatabaseTransaction,
    customer: &customer::Model,
    (kind, origin, fields): (Kind, Origin, Members),
    traceparent: Option<String>,
) -> Result<(), DbErr> {
    let row = row(customer, (kind, origin, fields), traceparent);
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Adds customers that Stripe had and that are new here, in one statement.
pub async fn enqueue_imported<'a>(
    tx: &DatabaseTransaction,
    customers: impl IntoIterator<Item = &'a customer::Model>,
    traceparent: &str,
) -> Result<(), DbErr> {
    let rows = customers.into_iter().map(|customer| {
        let change = (Kind::Created, Origin::Stripe, customer.members());
        row(customer, change, Some(traceparent.to_owned()))
    });
    Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

fn row(
    customer: &customer::Model,
    (kind, origin, fields): (Kind, Origin, Members),
    traceparent: Option<String>,
) -> ActiveModel {
    ActiveModel {
        customer_id: Set(customer.id),
        rev: Set(customer.rev),
        kind: Set(kind),
        origin: Set(origin),
        fields: Set(fields),
        // Zero is a row that was not read back: then this transaction has inserted it, as the default says.
        xid: match customer.change_xid {
            0 => NotSet,
            xid => Set(xid),
        },
        payload: Set(Changed::of(customer, origin).to_json()),
        traceparent: Set(traceparent),
        created_at: Set(customer.updated_at),
        ..Default::default()
    }
}

/// The first `limit` rows behind `after`, in the order of their ids.
///
/// Ids are given before the commit, so a row can appear behind one that was read already. Nothing is
/// lost by that, because rows leave by deletion and each round starts again from the lowest id; and
/// the order of one customer holds, because its row's lock makes its ids follow its revs.
pub async fn pending(
    db: &impl ConnectionTrait,
    after: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Id.gt(after))
        .order_by_asc(Column::Id)
        .limit(limit)
        .all(db)
        .await
}

/// Moves confirmed rows to the timeline, if the lease still has this epoch: a relay that was replaced while it
/// waited for its confirms moves nothing. Returns how many rows went.
///
/// One statement on Postgres. SQLite has none for it: there `db` must be a transaction.
pub async fn settle(
    db: &impl ConnectionTrait,
    ids: &[i64],
    (lease, epoch): (&str, i64),
    now: DateTimeUtc,
) -> Result<u64, DbErr> {
    if ids.is_empty() {
        return Ok(0);
    }
    let holds_lease = Query::select()
        .expr(Expr::value(1))
        .from(Alias::new("lease"))
        .and_where(Expr::col(Alias::new("name")).eq(lease))
        .and_where(Expr::col(Alias::new("epoch")).eq(epoch))
        .to_owned();
    let delete = Entity::delete_many()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Expr::exists(holds_lease))
        .build(db.get_database_backend());
    // As plain text, not as a prepared statement: Postgres keeps the plan of those, and one that was
    // made while the outbox was empty reads the whole table once there is a backlog.
    let delete = delete.to_string();
    if db.get_database_backend() == DbBackend::Postgres {
        let moved = format!(
            "WITH gone AS ({delete} RETURNING id, xid, customer_id, rev, kind, origin, fields, created_at) {INTO_TIMELINE} \
             SELECT customer_id, now(), {COMMITTED_AT}, 'publish', rev, \
                jsonb_build_object('kind', kind, 'origin', origin, 'fields', fields), xid, id, created_at FROM gone"
        );
        return Ok(db.execute_unprepared(&moved).await?.rows_affected());
    }
    let condition = delete.split_once(" WHERE ").map_or("", |(_, text)| text);
    let keep = format!(
        "{INTO_TIMELINE} SELECT customer_id, $1, {COMMITTED_AT}, 'publish', rev, \
            json_object('kind', kind, 'origin', origin, 'fields', json(fields)), xid, id, created_at \
         FROM outbox WHERE {condition}"
    );
    db.execute_raw(Statement::from_sql_and_values(
        DbBackend::Sqlite,
        keep,
        [now.into()],
    ))
    .await?;
    let deleted = db.execute_unprepared(&delete).await?;
    Ok(deleted.rows_affected())
}

const INTO_TIMELINE: &str = "INSERT INTO timeline (customer_id, at, committed_at, step, rev, detail, change_xid, change_id, change_at)";

/// A change that came from Stripe is on the timeline already, as what was applied.
const COMMITTED_AT: &str = "CASE origin WHEN 'application' THEN created_at END";

/// How many rows wait, and since when the oldest does.
pub async fn backlog(db: &impl ConnectionTrait) -> Result<(u64, Option<DateTimeUtc>), DbErr> {
    let count = Entity::find().count(db).await?;
    let oldest = pending(db, i64::MIN, 1).await?.pop();
    Ok((count, oldest.map(|row| row.created_at)))
}
