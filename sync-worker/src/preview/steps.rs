//! The steps of an item: what a customer is before and after it was looked at, and what its row asks for then.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use entity::conflict::{self, Winner};
use entity::fields::Field;
use entity::parked::Reason;
use entity::{customer, stripe_link};
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::item::{Item, Side, Step, Was, changes, digest};
use super::look::{Outcome, Subject};
use crate::downsync::apply::Applied;
use crate::engine::Engine;
use crate::observe::store::Observed;
use crate::upsync::plan::{Plan, plan};

/// What the database holds of one customer.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) row: Option<customer::Model>,
    pub(super) link: Option<stripe_link::Model>,
    conflicts: Vec<conflict::Model>,
}

impl State {
    /// Locked: every link and then every row, in one order, as everybody does.
    pub(super) async fn lock_all(
        tx: &DatabaseTransaction,
        ids: &BTreeSet<Uuid>,
    ) -> Result<BTreeMap<Uuid, Self>, DbErr> {
        let mut states = BTreeMap::new();
        for id in ids {
            let link = stripe_link::lock(tx, *id).await?;
            states.insert(
                *id,
                Self {
                    link,
                    ..Self::default()
                },
            );
        }
        for (id, state) in &mut states {
            state.row = customer::lock(tx, *id).await?;
            state.conflicts = conflict::Entity::find()
                .filter(conflict::Column::CustomerId.eq(*id))
                .order_by_asc(conflict::Column::Id)
                .all(tx)
                .await?;
        }
        Ok(states)
    }

    pub(super) async fn lock(tx: &DatabaseTransaction, id: Uuid) -> Result<Self, DbErr> {
        let mut states = Self::lock_all(tx, &BTreeSet::from([id])).await?;
        Ok(states.remove(&id).unwrap_or_default())
    }
}

/// What was seen so far.
pub(super) struct Seen<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) before: State,
    pub(super) now: DateTime<Utc>,
    pub(super) steps: Vec<Step>,
}

impl Seen<'_> {
    pub(super) fn refuse(&mut self, reason: &str, next_step: &str) {
        self.steps.push(Step::Refuse {
            reason: reason.to_owned(),
            next_step: next_step.to_owned(),
        });
    }

    /// What came from Stripe.
    pub(super) fn compare(&mut self, after: &State, applied: Applied) {
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
    pub(super) async fn ask(
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

    pub(super) fn outcome(
        self,
        customer_id: Option<Uuid>,
        (is_home, rev): (bool, Option<i64>),
    ) -> Outcome {
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
            together: None,
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
