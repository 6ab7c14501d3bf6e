//! Finds customers that wait to be pushed without a message: it was lost, or there never was one. Run with every
//! full pass, and by the sweep ([`super::sweep`]) once a minute, so that the state alone converges.

use chrono::{DateTime, Utc};
use entity::message::Origin;
use entity::timeline::{self, Step};
use entity::{customer, outbox, stripe_link};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, JoinType};
use sea_orm::{QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::engine::Engine;

/// How long a message may be under way before it counts as lost.
pub(super) const GRACE: chrono::Duration = chrono::Duration::minutes(2);
const BATCH: u64 = 1_000;
/// So many are pushed here and now.
const FEW: usize = 100;

/// Pushes what was missed; returns how many customers were found. Where they are many, as when Stripe is empty and
/// the database is not, each link asks for its push, and [`super::due`] makes them, some side by side and as fast
/// as the rate allows; the pass does not wait for that.
pub async fn run_once(engine: &Engine) -> Result<u64, DbErr> {
    run(engine, GRACE).await
}

/// The same with messages that may be under way for `grace`.
pub(super) async fn run(engine: &Engine, grace: chrono::Duration) -> Result<u64, DbErr> {
    let mut found = 0;
    if !within_bounds(is_anybody_behind(engine)).await? {
        return Ok(found);
    }
    let mut last = Uuid::nil();
    loop {
        let missed = within_bounds(missed(engine, last, grace)).await?;
        let Some(newest) = missed.last() else {
            return Ok(found);
        };
        last = *newest;
        let is_rest = (missed.len() as u64) < BATCH;
        let is_few = found == 0 && missed.len() <= FEW && engine.lane.stopped().is_none();
        found += missed.len() as u64;
        tracing::info!(
            customers = found,
            "found customers that wait to be pushed without a message"
        );
        if is_few {
            push(engine, missed).await?;
        } else {
            within_bounds(ask(engine, missed)).await?;
        }
        if is_rest {
            return Ok(found);
        }
    }
}

async fn push(engine: &Engine, missed: Vec<Uuid>) -> Result<(), DbErr> {
    for customer_id in missed {
        // It may have stopped since.
        if engine.lane.stopped().is_some() {
            within_bounds(ask(engine, vec![customer_id])).await?;
        } else if let Err(error) = super::push(engine, customer_id).await {
            tracing::warn!(customer.id = %customer_id, %error, "pushing a missed customer");
        }
    }
    Ok(())
}

/// Lets the links themselves ask for the push, which is made when the lane goes on.
async fn ask(engine: &Engine, customer_ids: Vec<Uuid>) -> Result<(), DbErr> {
    let tx = engine.begin().await?;
    let now = engine.now(&tx).await?;
    let fresh = customer_ids.iter().map(|id| stripe_link::fresh(*id, now));
    stripe_link::Entity::insert_many(fresh)
        .on_conflict(
            OnConflict::column(stripe_link::Column::CustomerId)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(&tx)
        .await?;
    let silent = stripe_link::Entity::find()
        .select_only()
        .column(stripe_link::Column::CustomerId)
        .filter(stripe_link::Column::CustomerId.is_in(customer_ids))
        .filter(stripe_link::Column::NextAttemptAt.is_null())
        .order_by_asc(stripe_link::Column::CustomerId)
        .lock_exclusive();
    let silent: Vec<Uuid> = silent.into_tuple().all(&tx).await?;
    let asking = stripe_link::ActiveModel {
        next_attempt_at: Set(Some(now)),
        updated_at: Set(now),
        ..Default::default()
    };
    stripe_link::Entity::update_many()
        .set(asking)
        .filter(stripe_link::Column::CustomerId.is_in(silent))
        .exec(&tx)
        .await?;
    tx.commit().await
}

/// Whether any customer's rev is above what was settled of it, which it is never below. Two sums cost a fraction of the
/// search, and mostly there is nothing to search for.
pub(super) async fn is_anybody_behind(engine: &Engine) -> Result<bool, DbErr> {
    let sum = |query: &mut SelectStatement, column: Expr| {
        let sum = Expr::expr(column.sum()).if_null(0).cast_as("bigint");
        Expr::from(query.expr(sum).to_owned())
    };
    let revs = sum(
        Query::select().from(customer::Entity),
        Expr::col(customer::Column::Rev),
    );
    let settled = sum(
        Query::select().from(stripe_link::Entity),
        Expr::col(stripe_link::Column::SyncedRev),
    );
    let is_behind = Query::select()
        .expr_as(revs.gt(settled), "is_behind")
        .to_owned();
    let row = engine.db.query_one(&is_behind).await?;
    row.map_or(Ok(false), |row| row.try_get("", "is_behind"))
}

/// A batch of those behind a customer, in the order of their ids, so that many batches read each row once.
async fn missed(
    engine: &Engine,
    behind: Uuid,
    grace: chrono::Duration,
) -> Result<Vec<Uuid>, DbErr> {
    let now = engine.now(&engine.db).await?;
    let since = now - grace;
    let link = |column| Expr::col((stripe_link::Entity, column));
    // A row from a time that is still to come was written before the clock was set back.
    let is_old = Condition::any()
        .add(customer::Column::UpdatedAt.lt(since))
        .add(customer::Column::UpdatedAt.gt(now));
    customer::Entity::find()
        .select_only()
        .column(customer::Column::Id)
        .join(JoinType::LeftJoin, customer_to_link())
        .filter(customer::Column::Id.gt(behind))
        .filter(is_old)
        .filter(
            link(stripe_link::Column::SyncedRev)
                .is_null()
                .or(Expr::col((customer::Entity, customer::Column::Rev))
                    .gt(link(stripe_link::Column::SyncedRev))),
        )
        .filter(link(stripe_link::Column::NextAttemptAt).is_null())
        .filter(
            link(stripe_link::Column::ParkedRev)
                .is_null()
                .or(Expr::col((customer::Entity, customer::Column::Rev))
                    .gt(link(stripe_link::Column::ParkedRev))),
        )
        .filter(Expr::exists(unpublished()).not())
        .filter(Expr::exists(published_within(since, now + GRACE)).not())
        .order_by_asc(customer::Column::Id)
        .limit(BATCH)
        .into_tuple()
        .all(&engine.db)
        .await
}

/// The customer's changes whose messages are still to come.
fn unpublished() -> SelectStatement {
    let customer_id = Expr::col((outbox::Entity, outbox::Column::CustomerId));
    Query::select()
        .expr(Expr::value(1))
        .from(outbox::Entity)
        .and_where(customer_id.equals((customer::Entity, customer::Column::Id)))
        .and_where(outbox::Column::Origin.eq(Origin::Application))
        .to_owned()
}

/// The customer's changes whose messages may be under way: a relay that was away for long publishes old ones. One that
/// was published long after now was published before the clock was set back.
fn published_within(since: DateTime<Utc>, until: DateTime<Utc>) -> SelectStatement {
    let customer_id = Expr::col((timeline::Entity, timeline::Column::CustomerId));
    Query::select()
        .expr(Expr::value(1))
        .from(timeline::Entity)
        .and_where(customer_id.equals((customer::Entity, customer::Column::Id)))
        .and_where(timeline::Column::Step.eq(Step::Publish))
        .and_where(timeline::Column::At.gt(since))
        .and_where(timeline::Column::At.lt(until))
        .to_owned()
}

fn customer_to_link() -> sea_orm::RelationDef {
    customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId)
        .into()
}
