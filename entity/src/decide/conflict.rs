//! A field that both sides changed: choose the side whose value holds, or leave both as they are.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, IntoActiveModel};

use super::parked::take;
use super::{Locked, Refused, Side};
use crate::conflict::{Model, Winner};
use crate::fields::Field;
use crate::{customer, write};

impl From<Side> for Winner {
    fn from(side: Side) -> Self {
        match side {
            Side::Database => Self::Database,
            Side::Stripe => Self::Stripe,
        }
    }
}

/// Lets one side's value hold. It is a change of ours at `rev + 1`, also where the row keeps its value: so it
/// reaches Stripe. The same choice a second time changes nothing.
///
/// `conflict` was read under the locks. What Stripe has by now, and nobody has seen yet, is no part of the choice:
/// it clashes again and is shown.
///
/// # Errors
/// It was decided for the other side, or the value that had won is not the present one any more.
pub async fn resolve(
    tx: &DatabaseTransaction,
    locked: &Locked,
    conflict: &Model,
    side: Side,
    (now, traceparent): (DateTime<Utc>, Option<String>),
) -> Result<(Model, customer::Model), Refused> {
    let chosen = Winner::from(side);
    if conflict.decided_at.is_some() {
        return if conflict.winner == chosen {
            Ok((conflict.clone(), locked.row.clone()))
        } else {
            Err(Refused::Decided)
        };
    }
    let field: Field = conflict.field.parse().map_err(|_| Refused::Outdated)?;
    let mut fields = locked.row.fields();
    let present = fields.get(field).map(str::to_owned);
    let won = match conflict.winner {
        Winner::Database => &conflict.database_value,
        Winner::Stripe => &conflict.stripe_value,
        Winner::Open => &present,
    };
    if locked.row.is_deleted() || *won != present {
        return Err(Refused::Outdated);
    }
    let value = match (side, conflict.winner) {
        (Side::Stripe, _) => conflict.stripe_value.clone(),
        (Side::Database, Winner::Open) => present.clone(),
        (Side::Database, _) => conflict.database_value.clone(),
    };
    let is_held = conflict.winner == Winner::Open && conflict.replaced_by.is_none();
    if is_held {
        // Both sides now agree on what Stripe has: if that is still so, ours is an edit, and theirs is none.
        let mut link = locked.link.clone().into_active_model();
        let mut base = locked.link.base_or_empty();
        base.set(field, conflict.stripe_value.clone());
        link.base = Set(Some(base));
        link.store(tx, now).await?;
    }
    fields.set(field, value.clone());
    let row = if value != present {
        take(tx, &locked.row, fields, (now, traceparent)).await?
    } else if is_held {
        write::resend(tx, &locked.row, now, traceparent).await?
    } else {
        locked.row.clone()
    };
    let mut decided = conflict.clone().into_active_model();
    decided.winner = Set(chosen);
    if conflict.winner == Winner::Open {
        decided.database_value = Set(present);
    }
    decided.resolved_at = Set(conflict.resolved_at.or(Some(now)));
    decided.decided_at = Set(Some(now));
    decided.dismissed_at = Set(None);
    Ok((decided.update(tx).await?, row))
}

/// Takes it off the list of what is open. An open one keeps both sides as they are, until one of them changes.
pub async fn dismiss(
    tx: &DatabaseTransaction,
    conflict: &Model,
    now: DateTime<Utc>,
) -> Result<Model, Refused> {
    if conflict.dismissed_at.is_some() {
        return Ok(conflict.clone());
    }
    let mut dismissed = conflict.clone().into_active_model();
    dismissed.dismissed_at = Set(Some(now));
    Ok(dismissed.update(tx).await?)
}
