//! Plays what the worker would do about some customers, in one transaction and in its order: each drift is applied, e-mails
//! that were swapped are, and customers that are to be read again are taken again.

use std::collections::BTreeMap;

use entity::message::{Drift, Moment};
use entity::unmatched::Entity;
use entity::{stripe_link, unmatched, write};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use super::look::Subject;
use super::steps::State;
use crate::downsync::apply::{Applied, apply_in};
use crate::downsync::diff::is_drift;
use crate::downsync::ring::{close_in, may_wait};
use crate::engine::Engine;
use crate::observe::store::Observed;

/// How often customers are read again because of each other.
const ROUNDS: i64 = 4;

/// What came of one subject.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// None if its copy says nothing new.
    pub(super) applied: Option<Applied>,
    /// Something that came from Stripe was stored.
    pub(super) is_home: bool,
    /// The row that its Stripe customer is linked to in the end.
    pub(super) row: Option<Uuid>,
    /// Its entry among the unmatched, before and after.
    pub(super) entry_before: Option<unmatched::Model>,
    pub(super) entry: Option<unmatched::Model>,
}

/// Plays all of them; what came of each, in their order.
pub(super) async fn play(
    engine: &Engine,
    tx: &DatabaseTransaction,
    subjects: &[Subject<'_>],
    before: &BTreeMap<Uuid, State>,
) -> Result<Vec<Played>, write::Error> {
    let mut all: Vec<Played> = Vec::with_capacity(subjects.len());
    let drifts = subjects.iter().filter_map(|one| one.drift);
    let latest = drifts.map(|drift| drift.read_at.order).max().unwrap_or(0);
    // As if all were read again at the end of their reading, some more often.
    let later = |drift: &Drift, times: i64| Drift {
        read_at: Moment {
            order: latest + times,
            ..drift.read_at
        },
        ..drift.clone()
    };
    let drifts = subjects.iter().filter_map(|subject| subject.drift);
    let copies: Vec<Drift> = drifts.map(|drift| later(drift, 1)).collect();
    // Whom a ring has taken along is read again after it.
    let mut closed = 0;
    for subject in subjects {
        let mut played = Played::default();
        if let Some(drift) = subject.drift {
            played.entry_before = entry(tx, drift).await?;
            if is_news(subject, drift, before) {
                let again = later(drift, 1 + closed);
                let drift = if closed > 0 { &again } else { drift };
                played.take(apply_in(engine, tx, drift).await?);
                let is_closed = close_ring(engine, tx, (&played, drift), &copies).await?;
                closed += i64::from(is_closed);
                played.is_home |= is_closed;
            }
        }
        all.push(played);
    }
    for round in 1..=ROUNDS {
        let mut is_at_rest = true;
        for (subject, played) in subjects.iter().zip(&mut all) {
            let Some(drift) = subject.drift else { continue };
            if played.applied.is_some() && takes_reread(tx, drift).await? {
                is_at_rest = false;
                played.take(apply_in(engine, tx, &later(drift, 1 + closed + round)).await?);
            }
        }
        if is_at_rest {
            break;
        }
    }
    for (subject, played) in subjects.iter().zip(&mut all) {
        if let Some(drift) = subject.drift {
            played.entry = entry(tx, drift).await?;
            let link = stripe_link::find_by_stripe_id(tx, &drift.copy.stripe_id).await?;
            played.row = link.map(|link| link.customer_id);
        }
    }
    Ok(all)
}

impl Played {
    fn take(&mut self, applied: Applied) {
        self.is_home |= !matches!(
            applied,
            Applied::Ignored | Applied::PutAside | Applied::Observed(Observed::Nothing)
        );
        self.applied = Some(applied);
    }
}

fn is_news(subject: &Subject<'_>, drift: &Drift, before: &BTreeMap<Uuid, State>) -> bool {
    let state = subject.customer_id.and_then(|id| before.get(&id));
    let link = state.and_then(|state| state.link.as_ref());
    let link = link.filter(|link| link.stripe_id.as_ref() == Some(&drift.copy.stripe_id));
    is_drift(&drift.copy, link.map(Into::into))
}

async fn close_ring(
    engine: &Engine,
    tx: &DatabaseTransaction,
    (played, drift): (&Played, &Drift),
    copies: &[Drift],
) -> Result<bool, write::Error> {
    match played.applied {
        Some(applied) if may_wait(applied) => close_in(engine, tx, drift, copies).await,
        _ => Ok(false),
    }
}

async fn entry(tx: &DatabaseTransaction, drift: &Drift) -> Result<Option<unmatched::Model>, DbErr> {
    Entity::find_by_id(&drift.copy.stripe_id).one(tx).await
}

/// Whether it is to be read again; it is, then.
async fn takes_reread(tx: &DatabaseTransaction, drift: &Drift) -> Result<bool, DbErr> {
    let Some(entry) = entry(tx, drift).await? else {
        return Ok(false);
    };
    if entry.recheck_at.is_none() {
        return Ok(false);
    }
    let mut reread = entry.into_active_model();
    reread.recheck_at = Set(None);
    reread.update(tx).await?;
    Ok(true)
}
