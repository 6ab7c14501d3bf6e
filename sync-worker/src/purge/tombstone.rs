//! Tombstones that have done their duty. A tombstone is what keeps a late copy or event from reviving its
//! customer, so it goes only when none can come any more.

use chrono::{DateTime, Utc};
use entity::{conflict, customer, outbox, stripe_link, unmatched};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, JoinType, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::engine::Engine;

/// Stripe keeps events for 30 days and repeats none after that. The rest is for a process, a queue or a
/// webhook's sender that stood still.
pub const KEPT: chrono::Duration = chrono::Duration::days(45);

/// Tombstones that one round looks at.
const BATCH: u64 = 200;

/// Forgets the oldest tombstones that may go; returns how many went.
pub async fn run_once(engine: &Engine) -> Result<u64, DbErr> {
    let now = engine.now(&engine.db).await?;
    let mut purged = 0;
    for customer_id in old(engine, now - KEPT).await? {
        purged += u64::from(purge(engine, customer_id).await?);
    }
    Ok(purged)
}

/// The oldest tombstones that may go. This is only the choice, and one that may not go must not fill it; what
/// counts is looked at under the locks.
async fn old(engine: &Engine, before: DateTime<Utc>) -> Result<Vec<Uuid>, DbErr> {
    let link = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let rev = Expr::col((customer::Entity, customer::Column::Rev));
    let is_at_rest = Condition::all()
        .add(stripe_link::Column::UpdatedAt.lt(before))
        .add(rev.lte(Expr::col((
            stripe_link::Entity,
            stripe_link::Column::SyncedRev,
        ))))
        .add(stripe_link::Column::ParkedReason.is_null());
    customer::Entity::find()
        .select_only()
        .column(customer::Column::Id)
        .join(JoinType::LeftJoin, link.into())
        .filter(customer::Column::DeletedAt.is_not_null())
        .filter(customer::Column::UpdatedAt.lt(before))
        .filter(
            Condition::any()
                .add(stripe_link::Column::CustomerId.is_null())
                .add(is_at_rest),
        )
        .filter(Expr::exists(naming(outbox::Entity, outbox::Column::CustomerId)).not())
        .filter(Expr::exists(naming(unmatched::Entity, unmatched::Column::CustomerId)).not())
        .order_by_asc(customer::Column::UpdatedAt)
        .limit(BATCH)
        .into_tuple()
        .all(&engine.db)
        .await
}

/// The rows of a table that name the customer.
fn naming(table: impl EntityTrait, customer_id: impl ColumnTrait) -> SelectStatement {
    let customer = (customer::Entity, customer::Column::Id);
    Query::select()
        .expr(Expr::value(1))
        .from(table)
        .and_where(Expr::col((table, customer_id)).equals(customer))
        .to_owned()
}

/// Link, row, and what hangs on them, in one transaction and in the order of all locks.
async fn purge(engine: &Engine, customer_id: Uuid) -> Result<bool, DbErr> {
    let tx = engine.begin().await?;
    let now = engine.now(&tx).await?;
    let link = stripe_link::lock(&tx, customer_id).await?;
    let Some(row) = customer::lock(&tx, customer_id).await? else {
        return Ok(false);
    };
    if !may_go(&row, link.as_ref(), now) || is_named(&tx, customer_id).await? {
        return Ok(false);
    }
    conflict::Entity::delete_many()
        .filter(conflict::Column::CustomerId.eq(customer_id))
        .exec(&tx)
        .await?;
    stripe_link::Entity::delete_by_id(customer_id)
        .exec(&tx)
        .await?;
    customer::Entity::delete_by_id(customer_id)
        .exec(&tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// Whether nothing is pending for a tombstone, and nothing has happened to it for so long that no event can
/// name it any more. Pure.
///
/// It is the last change of the link that counts, too: a delete that was pushed late made its event late. A
/// customer that was let go of (`detach`) still lives in Stripe; there its metadata says so, and whoever
/// takes that mark away asks for the customer to come home as a new one.
pub fn may_go(
    row: &customer::Model,
    link: Option<&stripe_link::Model>,
    now: DateTime<Utc>,
) -> bool {
    let is_old = |at: DateTime<Utc>| now - at > KEPT;
    let is_at_rest = link.is_none_or(|link| {
        is_old(link.updated_at)
            && link.synced_rev >= row.rev
            && link.push_token.is_none()
            && link.request_body.is_none()
            && link.next_attempt_at.is_none()
            && link.recheck_at.is_none()
            && link.parked_reason.is_none()
    });
    row.is_deleted() && is_old(row.updated_at) && is_at_rest
}

/// Whether somebody still speaks of it: a change that is to be published, or a customer of Stripe's that was
/// made for this row as well. Without the tombstone that one would come home.
async fn is_named(tx: &DatabaseTransaction, customer_id: Uuid) -> Result<bool, DbErr> {
    let change = outbox::Entity::find().filter(outbox::Column::CustomerId.eq(customer_id));
    let twin = unmatched::Entity::find().filter(unmatched::Column::CustomerId.eq(customer_id));
    Ok(change.one(tx).await?.is_some() || twin.one(tx).await?.is_some())
}
