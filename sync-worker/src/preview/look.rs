//! Looks what becomes of one customer, by having it done in a transaction. The caller takes that back to have only
//! seen it, or commits it if it is what was planned. So nothing is decided here: what is shown is what is done.

use chrono::{DateTime, Utc};
use entity::conflict::{self, Winner};
use entity::fields::Field;
use entity::message::Drift;
use entity::parked::Reason;
use entity::{customer, stripe_link, unmatched, write};
use platform::database::within_bounds;
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::item::{Item, Side, Step, Was, changes, digest};
use crate::downsync::apply::{Applied, apply_in, is_taken};
use crate::downsync::diff::is_drift;
use crate::engine::Engine;
use crate::observe::store::Observed;
use crate::upsync::plan::{Plan, plan};

/// How often a look starts again because somebody else was quicker.
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
    Is(Outcome),
    /// It belongs to this row: look again, at both.
    Row(Uuid),
}

/// Looks, and takes everything back.
pub(super) async fn look(
    engine: &Engine,
    mut subject: Subject<'_>,
) -> Result<Option<Item>, write::Error> {
    for _ in 0..ATTEMPTS {
        let looked = within_bounds(async {
            let tx = engine.begin().await?;
            let looked = look_in(engine, &tx, subject).await;
            tx.rollback().await?;
            looked
        });
        match looked.await {
            Ok(Looked::Is(outcome)) => return Ok(outcome.item),
            Ok(Looked::Row(id)) => subject.customer_id = Some(id),
            // It was linked, or the e-mail was taken, between two looks of the engine's.
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(write::Error::EmailTaken)
}

/// Does it in the caller's transaction.
///
/// # Errors
/// As [`crate::downsync::apply::apply`]'s; [`write::Error::EmailTaken`] asks to start again.
pub(super) async fn look_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    subject: Subject<'_>,
) -> Result<Looked, write::Error> {
    let now = engine.now(tx).await?;
    let before = match subject.customer_id {
        Some(id) => State::lock(tx, id).await?,
        None => State::default(),
    };
    let mut seen = Seen {
        subject,
        before,
        now,
        steps: Vec::new(),
    };
    let mut is_home = false;
    if let Some(drift) = subject.drift.filter(|drift| seen.is_drift(drift)) {
        let entry = unmatched_entry(tx, drift).await?;
        let applied = apply_in(engine, tx, drift).await?;
        is_home = !matches!(
            applied,
            Applied::Ignored | Applied::PutAside | Applied::Observed(Observed::Nothing)
        );
        match applied {
            Applied::Ignored => return Ok(Looked::Is(Outcome::default())),
            Applied::Unmatched(reason) => {
                let new = unmatched_entry(tx, drift).await?;
                let is_left =
                    new == entry && new.as_ref().is_some_and(|e| e.dismissed_at.is_some());
                if !is_left {
                    seen.refuse(reason.as_str(), reason.next_step());
                }
                // The push of the row that it is to be reviewed with finds it, and waits like this one.
                let row = new.and_then(|entry| entry.customer_id);
                let row = row.filter(|_| reason == unmatched::Reason::Review);
                return Ok(Looked::Is(seen.outcome(row, (false, None))));
            }
            Applied::Imported => {
                let row = row_of(tx, drift).await?;
                seen.steps.push(Step::Create {
                    on: Side::Database,
                    fields: row.fields(),
                });
                return Ok(Looked::Is(seen.outcome(None, (true, Some(row.rev)))));
            }
            Applied::PutAside => seen.steps.push(Step::Wait),
            Applied::Linked | Applied::Observed(_) => {
                let id = row_of(tx, drift).await?.id;
                if subject.customer_id != Some(id) {
                    return Ok(Looked::Row(id));
                }
                let after = State::lock(tx, id).await?;
                seen.compare(&after, applied);
            }
        }
    }
    let Some(id) = subject.customer_id else {
        return Ok(Looked::Is(seen.outcome(None, (is_home, None))));
    };
    let after = State::lock(tx, id).await?;
    seen.ask(engine, tx, &after).await?;
    let rev = after.row.map(|row| row.rev);
    Ok(Looked::Is(seen.outcome(Some(id), (is_home, rev))))
}

/// What the database holds of one customer.
#[derive(Debug, Default)]
struct State {
    row: Option<customer::Model>,
    link: Option<stripe_link::Model>,
    conflicts: Vec<conflict::Model>,
}

impl State {
    /// Locked, the link before the row, as everybody does.
    async fn lock(tx: &DatabaseTransaction, id: Uuid) -> Result<Self, DbErr> {
        Ok(Self {
            link: stripe_link::lock(tx, id).await?,
            row: customer::lock(tx, id).await?,
            conflicts: conflict::Entity::find()
                .filter(conflict::Column::CustomerId.eq(id))
                .order_by_asc(conflict::Column::Id)
                .all(tx)
                .await?,
        })
    }
}

/// What was seen so far.
struct Seen<'a> {
    subject: Subject<'a>,
    before: State,
    now: DateTime<Utc>,
    steps: Vec<Step>,
}

impl Seen<'_> {
    fn is_drift(&self, drift: &Drift) -> bool {
        let link = self.before.link.as_ref();
        let link = link.filter(|link| link.stripe_id.as_ref() == Some(&drift.copy.stripe_id));
        is_drift(&drift.copy, link.map(Into::into))
    }

    fn refuse(&mut self, reason: &str, next_step: &str) {
        self.steps.push(Step::Refuse {
            reason: reason.to_owned(),
            next_step: next_step.to_owned(),
        });
    }

    /// What came from Stripe.
    fn compare(&mut self, after: &State, applied: Applied) {
        if applied == Applied::Linked {
            self.steps.push(Step::Link);
        }
        if let (Some(old), Some(new)) = (&self.before.row, &after.row) {
            if new.is_deleted() && !old.is_deleted() {
                self.steps.push(Step::Delete { on: Side::Database });
            }
            let (old, new) = (old.fields(), new.fields());
            let fields = old.differing(&new);
            if !fields.is_empty() {
                let changes = changes(&old, &new, &fields);
                self.steps.push(Step::update(Side::Database, changes));
            }
        }
        let is_cut = |link: &Option<stripe_link::Model>| {
            link.as_ref().is_some_and(|link| link.detached_at.is_some())
        };
        if is_cut(&after.link) && !is_cut(&self.before.link) {
            self.steps.push(Step::Detach { on: Side::Database });
        }
        for conflict in &after.conflicts {
            let is_new = !self.before.conflicts.contains(conflict);
            let is_open = conflict.state() == conflict::State::Open;
            if let Ok(field) = conflict.field.parse()
                && (is_new || is_open)
            {
                self.steps.push(clash(conflict, field));
            }
        }
        if self.steps.is_empty() && applied == Applied::Observed(Observed::Agreed) {
            self.steps.push(Step::Settle);
        }
    }

    /// What the row asks for then.
    async fn ask(
        &mut self,
        engine: &Engine,
        tx: &DatabaseTransaction,
        after: &State,
    ) -> Result<(), DbErr> {
        let Some(row) = &after.row else {
            return Ok(());
        };
        let link = stripe_link::lock_or_create(tx, row.id, self.now).await?;
        // What a person has dismissed is to stay as it is.
        if link.is_parked_at(row.rev)
            && link.parked_dismissed_at.is_none()
            && let Some(reason) = link.parked()
        {
            let code = link.parked_reason.as_deref().unwrap_or(reason.as_str());
            self.refuse(code, reason.next_step());
        }
        let open = after.conflicts.iter().filter(|c| c.is_held());
        let held: Vec<Field> = open.filter_map(|c| c.field.parse().ok()).collect();
        let on = Side::Stripe;
        let asked = plan(
            row,
            &link,
            &held,
            engine.policy.on_database_delete,
            self.now,
        );
        match asked {
            Plan::Nothing | Plan::Parked => {}
            Plan::Settle => self.steps.push(Step::Settle),
            Plan::Busy if self.steps.contains(&Step::Wait) => {}
            Plan::Busy => self.steps.push(Step::Wait),
            Plan::Unfinished => {
                let reason = Reason::Unfinished;
                self.refuse(reason.as_str(), reason.next_step());
            }
            // All that is left of a create that may have been executed is to be deleted.
            Plan::Create if row.is_deleted() => self.steps.push(Step::Delete { on }),
            Plan::Create => self.steps.push(Step::Create {
                on,
                fields: row.fields(),
            }),
            Plan::Update(fields) if fields.is_empty() => self.steps.push(Step::Mark),
            Plan::Update(fields) => {
                let there = match self.subject.drift {
                    Some(drift) => drift.copy.fields.clone(),
                    None => link.base_or_empty(),
                };
                let changes = changes(&there, &row.fields(), &fields);
                self.steps.push(Step::update(on, changes));
            }
            Plan::Delete => self.steps.push(Step::Delete { on }),
            Plan::Detach => self.steps.push(Step::Detach { on }),
        }
        Ok(())
    }

    fn outcome(self, customer_id: Option<Uuid>, (is_home, rev): (bool, Option<i64>)) -> Outcome {
        let copy = self.subject.drift.map(|drift| &drift.copy);
        let (row, link) = (self.before.row, self.before.link);
        let was = Was {
            rev: row.as_ref().map(|row| row.rev),
            synced_rev: link.as_ref().map(|link| link.synced_rev),
            copy: copy.map(digest),
        };
        let stripe_id = copy.map(|copy| copy.stripe_id.clone());
        let email = row.map(|row| row.email);
        let item = Item {
            customer_id,
            stripe_id: stripe_id.or_else(|| link.and_then(|link| link.stripe_id)),
            email: email.or_else(|| copy.and_then(|copy| copy.fields.email.clone())),
            was,
            steps: self.steps,
        };
        Outcome {
            item: Some(item).filter(|item| !item.steps.is_empty()),
            is_home,
            rev,
        }
    }
}

fn clash(conflict: &conflict::Model, field: Field) -> Step {
    Step::Conflict {
        field,
        base: conflict.base.clone(),
        database: conflict.database_value.clone(),
        stripe: conflict.stripe_value.clone(),
        winner: match conflict.winner {
            Winner::Database => Some(Side::Database),
            Winner::Stripe => Some(Side::Stripe),
            Winner::Open => None,
        },
    }
}

async fn unmatched_entry(
    tx: &DatabaseTransaction,
    drift: &Drift,
) -> Result<Option<unmatched::Model>, DbErr> {
    unmatched::Entity::find_by_id(&drift.copy.stripe_id)
        .one(tx)
        .await
}

/// The row that a copy has just been applied to.
async fn row_of(tx: &DatabaseTransaction, drift: &Drift) -> Result<customer::Model, DbErr> {
    let stripe_id = &drift.copy.stripe_id;
    let missing = || DbErr::RecordNotFound(format!("the customer of {stripe_id}"));
    let link = stripe_link::find_by_stripe_id(tx, stripe_id).await?;
    let id = link.ok_or_else(missing)?.customer_id;
    customer::find(tx, id).await?.ok_or_else(missing)
}
