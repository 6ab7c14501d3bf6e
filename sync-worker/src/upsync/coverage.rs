//! Whether the events that were received cover every edit that was made in Stripe up to now. Where they do not, the
//! customer is read before an update replaces anything.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{downsync_state, stripe_event};
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QuerySelect};

/// How long webhooks count as delivering after a poll found that they do. Longer than the longest poll interval.
const PROOF_LIFE: TimeDelta = TimeDelta::minutes(15);

/// Webhooks are delivering, and every event of the customer that they brought was handled. In the database, because the
/// worker that polls is not always the one that pushes.
pub(super) async fn is_covered(
    tx: &DatabaseTransaction,
    stripe_id: &str,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let proven_at: Option<Option<DateTime<Utc>>> =
        downsync_state::Entity::find_by_id(downsync_state::ID)
            .select_only()
            .column(downsync_state::Column::WebhooksProvenAt)
            .into_tuple()
            .one(tx)
            .await?;
    // A clock that was stepped back proves nothing.
    let is_proven = |at: DateTime<Utc>| (TimeDelta::zero()..PROOF_LIFE).contains(&(now - at));
    if !proven_at.flatten().is_some_and(is_proven) {
        return Ok(false);
    }
    let unread: Option<String> = stripe_event::Entity::find()
        .select_only()
        .column(stripe_event::Column::Id)
        .filter(stripe_event::Column::StripeId.eq(stripe_id))
        .filter(stripe_event::Column::ProcessedAt.is_null())
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(unread.is_none())
}
