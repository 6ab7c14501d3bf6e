//! Finds customers that wait to be pushed without anybody knowing: the message was lost, or a queue was
//! purged. Run with every full pass, so that the state alone converges.

use entity::{customer, outbox, stripe_link};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, IntoActiveModel, JoinType};
use sea_orm::{QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::engine::Engine;

/// How long a message may be under way before it counts as lost.
const GRACE: chrono::Duration = chrono::Duration::minutes(2);
const BATCH: u64 = 1_000;

/// Pushes what was missed; returns how many customers were found.
pub async fn run_once(engine: &Engine) -> Result<u64, DbErr> {
    let missed = within_bounds(missed(engine)).await?;
    let found = missed.len() as u64;
    if found > 0 {
        tracing::info!(
            customers = found,
            "pushing customers whose message was lost"
        );
    }
    for customer_id in missed {
        if engine.lane.stopped().is_some() {
            ask(engine, customer_id).await?;
        } else if let Err(error) = super::push(engine, customer_id).await {
            tracing::warn!(customer.id = %customer_id, %error, "pushing a missed customer");
        }
    }
    Ok(found)
}

/// Lets the link itself ask for the push, which is made when the lane goes on.
async fn ask(engine: &Engine, customer_id: Uuid) -> Result<(), DbErr> {
    let tx = engine.begin().await?;
    let now = engine.now(&tx).await?;
    let link = stripe_link::lock_or_create(&tx, customer_id, now).await?;
    if link.next_attempt_at.is_none() {
        let mut asking = link.into_active_model();
        asking.next_attempt_at = Set(Some(now));
        asking.store(&tx, now).await?;
    }
    tx.commit().await
}

async fn missed(engine: &Engine) -> Result<Vec<Uuid>, DbErr> {
    let now = engine.now(&engine.db).await?;
    let in_outbox = Query::select()
        .expr(Expr::value(1))
        .from(outbox::Entity)
        .and_where(
            Expr::col((outbox::Entity, outbox::Column::CustomerId))
                .equals((customer::Entity, customer::Column::Id)),
        )
        .to_owned();
    let link = |column| Expr::col((stripe_link::Entity, column));
    customer::Entity::find()
        .select_only()
        .column(customer::Column::Id)
        .join(JoinType::LeftJoin, customer_to_link())
        .filter(customer::Column::UpdatedAt.lt(now - GRACE))
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
        .filter(Expr::exists(in_outbox).not())
        .order_by_asc(customer::Column::Id)
        .limit(BATCH)
        .into_tuple()
        .all(&engine.db)
        .await
}

fn customer_to_link() -> sea_orm::RelationDef {
    customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId)
        .into()
}
