//! Looks what becomes of some customers, by having it done in a transaction. The caller takes that back to have only
//! seen it, or commits it if it is what was planned. So nothing is decided here: what is shown is what is done.

use std::collections::BTreeSet;

use entity::message::Drift;
use entity::{customer, stripe_link, unmatched, write};
use platform::database::within_bounds;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use super::item::{Item, Side, Step};
use super::play::{Played, play};
use super::steps::{Seen, State};
use crate::downsync::apply::{Applied, is_taken};
use crate::engine::Engine;

/// How often a look starts again because somebody else was quicker, or another row turned out to be concerned.
const ATTEMPTS: usize = 5;

/// Whom to look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// Stripe's customer, as it was just read.
    pub(super) drift: Option<&'a Drift>,
    /// The row.
    pub(super) customer_id: Option<Uuid>,
}

/// What becomes of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// None if nothing does.
    pub(super) item: Option<Item>,
    /// The transaction holds something that came from Stripe.
    pub(super) is_home: bool,
    /// The row's rev with that.
    pub(super) rev: Option<i64>,
}

#[derive(Debug)]
pub(super) enum Looked {
    /// An outcome for each subject, in their order.
    Are(Vec<Outcome>),
    /// These rows are concerned too: look again, and lock them before.
    Rows(Vec<Uuid>),
}

/// Looks at customers that may concern each other, in the order in which the worker would take them, and takes everything
/// back.
pub(super) async fn look(
    engine: &Engine,
    subjects: &[Subject<'_>],
) -> Result<Vec<Option<Item>>, write::Error> {
    let mut rows = rows_of(subjects);
    for _ in 0..ATTEMPTS {
        let looked = within_bounds(async {
            let tx = engine.begin().await?;
            let looked = look_in(engine, &tx, subjects, &rows).await;
            tx.rollback().await?;
            looked
        });
        match looked.await {
            Ok(Looked::Are(outcomes)) => {
                return Ok(outcomes.into_iter().map(|one| one.item).collect());
            }
            Ok(Looked::Rows(more)) => rows.extend(more),
            // It was linked, or the e-mail was taken, between two looks of the engine's.
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(write::Error::EmailTaken)
}

pub(super) fn rows_of(subjects: &[Subject<'_>]) -> BTreeSet<Uuid> {
    subjects
        .iter()
        .filter_map(|subject| subject.customer_id)
        .collect()
}

/// Does it in the caller's transaction, with the rows locked.
///
/// # Errors
/// As [`crate::downsync::apply::apply`]'s; [`write::Error::EmailTaken`] asks to start again.
pub(super) async fn look_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    subjects: &[Subject<'_>],
    rows: &BTreeSet<Uuid>,
) -> Result<Looked, write::Error> {
    let now = engine.now(tx).await?;
    let mut before = State::lock_all(tx, rows).await?;
    let played = play(engine, tx, subjects, &before).await?;
    let mut unknown = Vec::new();
    for one in &played {
        if let Some(Applied::Linked | Applied::Observed(_)) = one.applied
            && let Some(id) = one.row
            && !before.contains_key(&id)
        {
            unknown.push(id);
        }
    }
    if !unknown.is_empty() {
        return Ok(Looked::Rows(unknown));
    }
    let mut outcomes = Vec::with_capacity(subjects.len());
    let mut told = BTreeSet::new();
    for (subject, played) in subjects.iter().zip(&played) {
        let is_told = |id| told.contains(&id);
        let row = played.row.or(subject.customer_id);
        if row.is_some_and(is_told) || is_left_to_another(tx, subject, played).await? {
            outcomes.push(Outcome::default());
            continue;
        }
        let seen = Seen {
            subject: *subject,
            before: row.and_then(|id| before.remove(&id)).unwrap_or_default(),
            now,
            steps: Vec::new(),
        };
        told.extend(row);
        outcomes.push(outcome(engine, tx, seen, played).await?);
    }
    Ok(Looked::Are(outcomes))
}

/// Whether the row of the subject has come to another Stripe customer, which it is shown with.
async fn is_left_to_another(
    tx: &DatabaseTransaction,
    subject: &Subject<'_>,
    played: &Played,
) -> Result<bool, DbErr> {
    let (Some(drift), Some(id)) = (subject.drift, subject.customer_id) else {
        return Ok(false);
    };
    let is_observed = matches!(played.applied, Some(Applied::Observed(_)));
    if !is_observed || played.row.is_some() {
        return Ok(false);
    }
    let link = stripe_link::find(tx, id).await?;
    Ok(link.is_some_and(|link| link.stripe_id.as_ref() != Some(&drift.copy.stripe_id)))
}

async fn outcome(
    engine: &Engine,
    tx: &DatabaseTransaction,
    mut seen: Seen<'_>,
    played: &Played,
) -> Result<Outcome, write::Error> {
    match played.applied {
        Some(Applied::Ignored) => return Ok(Outcome::default()),
        Some(Applied::Unmatched(reason)) => {
            let (old, new) = (&played.entry_before, &played.entry);
            let is_left = old == new && new.as_ref().is_some_and(|e| e.dismissed_at.is_some());
            if !is_left {
                seen.refuse(reason.as_str(), reason.next_step());
            }
            // The push of the row that it is to be reviewed with finds it, and waits like this one.
            let row = new.as_ref().and_then(|entry| entry.customer_id);
            let row = row.filter(|_| reason == unmatched::Reason::Review);
            return Ok(seen.outcome(row, (false, None)));
        }
        Some(Applied::Imported) => {
            let id = played.row.ok_or_else(missing)?;
            let row = customer::find(tx, id).await?.ok_or_else(missing)?;
            seen.steps.push(Step::Create {
                on: Side::Database,
                fields: row.fields(),
            });
            return Ok(seen.outcome(None, (true, Some(row.rev))));
        }
        Some(Applied::PutAside) => seen.steps.push(Step::Wait),
        Some(applied @ (Applied::Linked | Applied::Observed(_))) => {
            let id = played.row.ok_or_else(missing)?;
            let after = State::lock(tx, id).await?;
            seen.compare(&after, applied);
        }
        None => {}
    }
    let Some(id) = played.row.or(seen.subject.customer_id) else {
        return Ok(seen.outcome(None, (played.is_home, None)));
    };
    let after = State::lock(tx, id).await?;
    seen.ask(engine, tx, &after).await?;
    let rev = after.row.map(|row| row.rev);
    Ok(seen.outcome(Some(id), (played.is_home, rev)))
}

fn missing() -> DbErr {
    DbErr::RecordNotFound("the row that a copy was just applied to".to_owned())
}
