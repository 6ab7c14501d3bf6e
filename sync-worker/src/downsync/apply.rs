//! Brings one copy of Stripe's home, under the link's lock, if it is newer than all that is known.
//!
//! What comes from Stripe raises the row's rev and `synced_rev` with it, so there is nothing to push and no echo can
//! start. Its outbox row goes to other consumers only.

use chrono::{DateTime, Utc};
use entity::message::Drift;
use entity::timeline::{self, Detail, Step};
use entity::unmatched::Reason;
use entity::{customer, stripe_link, write};
use platform::database::within_bounds;
use sea_orm::{DatabaseTransaction, DbErr, SqlErr};

use super::duplicate;
use super::fence::{counts, put_aside};
use super::unlinked::{Found, find_a_row};
use crate::engine::Engine;
use crate::observe::store::{Observed, Sight, observe};

/// What became of a drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Observed(Observed),
    /// The copy is older than what we know, or a push is under way: the customer is read again later.
    PutAside,
    /// A new row was made of it.
    Imported,
    /// It was linked to a row that was there.
    Linked,
    /// It cannot become a row, and that is written down.
    Unmatched(Reason),
    /// There is nothing to do about it.
    Ignored,
}

/// How often a drift is applied anew because another transaction took a unique value first.
const ATTEMPTS: usize = 3;

/// Applies one drift. Before a deletion the other Stripe customers with the same e-mail are recorded; while they cannot be
/// listed, the customer is read again later.
///
/// # Errors
/// The database is away, or other writers kept taking the same e-mail first.
pub async fn apply(engine: &Engine, drift: &Drift) -> Result<Applied, write::Error> {
    if drift.copy.deleted {
        let read_at = engine.moment(&engine.db).await?;
        match duplicate::beside_deleted(engine, drift).await? {
            Ok(copies) => duplicate::record(engine, copies, read_at).await?,
            Err(failure) => {
                tracing::warn!(
                    stripe.id = %drift.copy.stripe_id,
                    error = ?failure,
                    "listing the customers that share the e-mail of a deleted one; trying again"
                );
                within_bounds(read_later(engine, drift)).await?;
                return Ok(Applied::PutAside);
            }
        }
    }
    apply_locally(engine, drift).await
}

async fn read_later(engine: &Engine, drift: &Drift) -> Result<(), DbErr> {
    let tx = engine.begin().await?;
    if let Some(link) = lock_by_stripe_id(&tx, &drift.copy.stripe_id).await? {
        let now = engine.now(&tx).await?;
        put_aside(&tx, &link, now).await?;
    }
    tx.commit().await
}

/// [`apply`], with no call to Stripe.
pub(super) async fn apply_locally(engine: &Engine, drift: &Drift) -> Result<Applied, write::Error> {
    let mut attempt = 1;
    loop {
        match within_bounds(apply_once(engine, drift)).await {
            Err(error) if attempt < ATTEMPTS && is_taken(&error) => attempt += 1,
            applied => return applied,
        }
    }
}

/// Whether another transaction was quicker: start again.
pub(crate) fn is_taken(error: &write::Error) -> bool {
    match error {
        write::Error::EmailTaken | write::Error::ExternalIdTaken | write::Error::StripeIdTaken => {
            true
        }
        write::Error::Database(error) => {
            matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
        }
    }
}

async fn apply_once(engine: &Engine, drift: &Drift) -> Result<Applied, write::Error> {
    let tx = engine.begin().await?;
    let applied = apply_in(engine, &tx, drift).await?;
    engine.steps.reach_commit("apply: commit").await;
    tx.commit().await?;
    Ok(applied)
}

/// Applies one drift in the caller's transaction, who commits it, or takes it back to have seen only what it
/// would do.
///
/// # Errors
/// As [`apply`]'s, and [`write::Error::EmailTaken`] where that would have started again.
pub(crate) async fn apply_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    drift: &Drift,
) -> Result<Applied, write::Error> {
    let link = lock_by_stripe_id(tx, &drift.copy.stripe_id).await?;
    // Under the lock, because it is compared with what others have stored meanwhile.
    let now = engine.now(tx).await?;
    Ok(match link {
        Some(link) => linked(engine, tx, &link, drift, now).await?,
        None => match find_a_row(engine, tx, drift, now).await? {
            Found::Imported => Applied::Imported,
            Found::Linked => Applied::Linked,
            Found::PutAside => Applied::PutAside,
            Found::None(reason) => Applied::Unmatched(reason),
            Found::Ignored => Applied::Ignored,
        },
    })
}

async fn lock_by_stripe_id(
    tx: &DatabaseTransaction,
    stripe_id: &str,
) -> Result<Option<stripe_link::Model>, DbErr> {
    let Some(found) = stripe_link::find_by_stripe_id(tx, stripe_id).await? else {
        return Ok(None);
    };
    // What was found without the lock may have changed while we waited for it.
    let locked = stripe_link::lock(tx, found.customer_id).await?;
    Ok(locked.filter(|link| link.stripe_id.as_deref() == Some(stripe_id)))
}

async fn linked(
    engine: &Engine,
    tx: &DatabaseTransaction,
    link: &stripe_link::Model,
    drift: &Drift,
    now: DateTime<Utc>,
) -> Result<Applied, write::Error> {
    if !counts(link, drift.read_at, now) {
        put_aside(tx, link, now).await?;
        return Ok(Applied::PutAside);
    }
    let Some(row) = customer::lock(tx, link.customer_id).await? else {
        return Ok(Applied::Ignored);
    };
    let sight = Sight {
        copy: &drift.copy,
        read_at: Some(drift.read_at),
        must_stamp: false,
    };
    let observed = observe(tx, &engine.policy, (&row, link), sight, now).await?;
    if observed != Observed::Nothing {
        tell(tx, link, drift).await?;
    }
    Ok(Applied::Observed(observed))
}

/// A drift is told with what was made of it, at the time of the look that found it. One that means nothing, such as
/// a second message of it, is not told.
async fn tell(
    tx: &DatabaseTransaction,
    link: &stripe_link::Model,
    drift: &Drift,
) -> Result<(), DbErr> {
    let mut detail = Detail {
        kind: Some("deleted".to_owned()),
        ..Detail::default()
    };
    if !drift.copy.deleted {
        detail.kind = Some("edited".to_owned());
        let fields = drift.copy.fields.differing(&link.base_or_empty());
        detail.fields = fields.into_iter().map(Into::into).collect();
    }
    let of = (link.customer_id, None);
    timeline::note(tx, of, Step::Drift, detail, drift.read_at.at).await
}

impl Applied {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed(observed) => observed.as_str(),
            Self::PutAside => "put_aside",
            Self::Imported => "imported",
            Self::Linked => "linked",
            Self::Unmatched(_) => "unmatched",
            Self::Ignored => "ignored",
        }
    }
}
