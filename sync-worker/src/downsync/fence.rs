//! The fence that keeps an old copy from undoing what is newer.

use chrono::{DateTime, Utc};
use entity::message::Moment;
use entity::stripe_link;
use entity::timeline::{self, Detail, Step};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, DbErr, IntoActiveModel};

use super::recheck::AFTER_ERROR;
use crate::engine::PUSH_EXPIRY;

/// How soon a customer whose copy was put aside is read again.
pub(super) const READ_AGAIN_AFTER: chrono::Duration = chrono::Duration::milliseconds(500);

/// A copy counts only if it was read after the last push was acknowledged and after the
/// last copy that counted, and if no push is under way. Anything else may show a state that we have
/// replaced already, and applying it would undo a write.
pub(super) fn counts(link: &stripe_link::Model, read_at: Moment, now: DateTime<Utc>) -> bool {
    // What an older version has read (0) is older than anything.
    let is_newer = |known: Option<i64>| read_at.order > known.unwrap_or(0);
    is_newer(link.acked_order)
        && is_newer(link.observed_order)
        && !link.push_is_under_way(now, PUSH_EXPIRY)
}

/// Asks for the customer to be read again, in place of a copy that does not count.
pub(super) async fn put_aside(
    tx: &DatabaseTransaction,
    link: &stripe_link::Model,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    // A time that has come is being served, by a read that may be older than this copy.
    let has_come = |at| at <= now || at > now + AFTER_ERROR;
    if link.recheck_at.is_some_and(|at| !has_come(at)) {
        return Ok(());
    }
    let mut waiting = link.clone().into_active_model();
    waiting.recheck_at = Set(Some(now + READ_AGAIN_AFTER));
    waiting.store(tx, now).await?;
    let detail = Detail {
        result: Some("put_aside".to_owned()),
        ..Detail::default()
    };
    timeline::note(tx, (link.customer_id, None), Step::Drift, detail, now).await
}
