//! The customers of Stripe's without a row that a person wants to be read again, or linked.

use chrono::{DateTime, Utc};
use entity::time::has_come;
use entity::unmatched::{Column, Entity};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{AFTER_ERROR, BATCH, Unread, look};
use crate::downsync::apply::Applied;
use crate::downsync::inbox::is_of_one_customer;
use crate::engine::Engine;

/// Reads those that are due; returns how many were looked at.
pub(super) async fn run_once(
    engine: &Engine,
    now: DateTime<Utc>,
    unread: &mut Unread,
) -> anyhow::Result<usize> {
    let due = Entity::find()
        .filter(has_come(Column::RecheckAt, now, AFTER_ERROR))
        .order_by_asc(Column::RecheckAt)
        .limit(BATCH)
        .all(&engine.db)
        .await?;
    for entry in &due {
        let looked = look(engine, &entry.stripe_id).await;
        // The row that it is to be linked to may be busy.
        let again = match &looked {
            Ok(Some(Applied::PutAside)) | Err(_) => Some(now + AFTER_ERROR),
            Ok(_) => None,
        };
        // Unless a person has asked again meanwhile.
        Entity::update_many()
            .col_expr(Column::RecheckAt, Expr::value(again))
            .filter(Column::StripeId.eq(&entry.stripe_id))
            .filter(Column::RecheckAt.eq(entry.recheck_at))
            .exec(&engine.db)
            .await?;
        let goes_on = looked.as_ref().err().is_none_or(is_of_one_customer);
        unread.note(&entry.stripe_id, looked);
        if !goes_on {
            break;
        }
    }
    Ok(due.len())
}
