//! The transactions: a change is the row and its outbox row together, then the answer, and then nobody is waited for.

use chrono::{DateTime, SubsecRound, Utc};
use entity::customer::{self, Model};
use entity::email::{Email, Policy};
use entity::external_id::ExternalId;
use entity::fields::{self, Fields};
use entity::write::{self, NewCustomer};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::Serialize;
use tokio::time::timeout;
use uuid::Uuid;

use super::Customers;
use super::key::Key;
use super::representation::{Written, created};
use super::sync::{Summaries, Summary};
use crate::database::{self, PATIENCE, patiently};
use crate::header::Tags;
use crate::idempotency::{Answer, Once};
use crate::problem::{Code, Problem};

/// Values that may be stored: canonical and valid.
#[derive(Serialize)]
pub(super) struct Values {
    #[serde(skip)]
    pub(super) email: Email,
    #[serde(flatten)]
    pub(super) fields: Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_id: Option<ExternalId>,
}

impl Values {
    pub(super) fn of(fields: Fields, external_id: Option<ExternalId>) -> Result<Self, Problem> {
        Self::change(&Fields::default(), fields, external_id)
    }

    /// Those of a customer that has others: a value that stays is not checked again.
    pub(super) fn change(
        before: &Fields,
        after: Fields,
        external_id: Option<ExternalId>,
    ) -> Result<Self, Problem> {
        let fields = after.canonical();
        // The installation's own policy is applied where the values are written.
        let email = fields::validate_change(before, &fields, Policy::default())
            .map_err(|invalid| Problem::invalid(invalid.field.as_str(), invalid.to_string()))?;
        Ok(Self {
            email,
            fields,
            external_id,
        })
    }
}

/// Canonical and valid; none of an empty text.
pub(super) fn external_id(text: &str) -> Result<Option<ExternalId>, Problem> {
    ExternalId::parse(text)
        .map_err(|error| Problem::invalid("external_id", format!("external_id {error}")))
}

/// A customer to create. As JSON, what is asked for: of two requests with one Idempotency-Key it is the same.
#[derive(Serialize)]
pub(super) struct New {
    #[serde(flatten)]
    pub(super) values: Values,
    /// The Stripe customer to link it to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stripe_id: Option<String>,
}

impl From<Values> for New {
    fn from(values: Values) -> Self {
        Self {
            values,
            stripe_id: None,
        }
    }
}

/// How often a create with an Idempotency-Key starts again because another one with this key ran beside it.
const ROUNDS: usize = 3;

impl Customers {
    /// Creates a customer, unless a request with this Idempotency-Key has; the answer, and whether it is a repeated one.
    pub(super) async fn create(
        &self,
        new: New,
        once: Option<Once>,
        traceparent: String,
    ) -> Result<(Answer, bool), Problem> {
        let new = self.new_customer(new, traceparent)?;
        let Some(once) = once else {
            let row = self.create_always(&new).await?;
            return Ok((created(&row, new.stripe_id), false));
        };
        database::past_deadlocks(|| self.create_once(&once, &new)).await
    }

    /// Where the outcome of an attempt is unknown, because the connection broke or the answer is late, the customer is
    /// looked for by its id, which nobody else can have. So a restart of the database loses and doubles nothing.
    async fn create_always(&self, new: &NewCustomer) -> Result<Model, Problem> {
        let attempt = if write::can_create_alone(&self.db, new) {
            match timeout(PATIENCE, write::create_alone(&self.db, new)).await {
                Ok(outcome) => outcome.map_err(refusal),
                Err(_) => Err(Problem::unavailable()),
            }
        } else {
            create_in(database::begin(&self.db).await?, new).await
        };
        let row = match attempt {
            Err(problem) if problem.code == Code::Unavailable => self.settle(new).await?,
            attempt => attempt?,
        };
        self.wake.wake();
        Ok(row)
    }

    async fn settle(&self, new: &NewCustomer) -> Result<Model, Problem> {
        let again = || async { create_in(database::begin(&self.db).await?, new).await };
        match database::past_deadlocks(again).await {
            // The e-mail, or the id, may be taken by the attempt before this one.
            Err(problem) => patiently(|| customer::find(&self.db, new.id))
                .await?
                .ok_or(problem),
            created => created,
        }
    }

    async fn create_once(&self, once: &Once, new: &NewCustomer) -> Result<(Answer, bool), Problem> {
        for _ in 0..ROUNDS {
            let tx = database::begin(&self.db).await?;
            let kept = once.find(&tx, new.now).await.map_err(database::problem)?;
            if let Some(kept) = kept {
                return repeat(once, kept);
            }
            let row = match write::create(&tx, new).await {
                Ok(row) => row,
                Err(error @ write::Error::Database(_)) => return Err(refusal(error)),
                Err(taken) => {
                    rollback(tx).await?;
                    // Perhaps by the request that ran beside this one.
                    let kept = patiently(|| once.find(&self.db, new.now)).await?;
                    return repeat(once, kept.ok_or_else(|| refusal(taken))?);
                }
            };
            let answer = created(&row, new.stripe_id.clone());
            let is_first = once
                .keep(&tx, &answer, row.created_at)
                .await
                .map_err(database::problem)?;
            if is_first {
                commit(tx).await?;
                self.wake.wake();
                return Ok((answer, false));
            }
            rollback(tx).await?;
        }
        Err(Problem::unavailable()
            .because("the Idempotency-Key was taken and free again at each look"))
    }

    /// Gives a customer the values that `edit` makes of those it has.
    pub(super) async fn update(
        &self,
        key: &Key,
        condition: Option<&Tags>,
        edit: impl Fn(&Model) -> Result<Values, Problem>,
        traceparent: String,
    ) -> Result<Written, Problem> {
        let attempt = || async {
            let tx = database::begin(&self.db).await?;
            let row = locked(&tx, key, condition).await?;
            let Values {
                email,
                fields,
                external_id,
            } = edit(&row)?;
            if email.as_given() != row.email {
                self.check(&email)?;
            }
            let external_id = external_id.as_ref().map(ExternalId::as_str);
            let values = (&email, &fields, external_id);
            let updated = write::edit(&tx, &row, values, self.now(), Some(traceparent.clone()));
            let updated = updated.await.map_err(refusal)?;
            let summary = summary(&tx, &updated).await?;
            commit(tx).await?;
            Ok((updated, summary))
        };
        let updated = database::past_deadlocks(attempt).await?;
        self.wake.wake();
        Ok(updated)
    }

    /// Makes a customer a tombstone.
    pub(super) async fn delete(
        &self,
        key: &Key,
        condition: Option<&Tags>,
        traceparent: String,
    ) -> Result<Written, Problem> {
        let attempt = || async {
            let tx = database::begin(&self.db).await?;
            let row = locked(&tx, key, condition).await?;
            let deleted = write::delete(&tx, &row, self.now(), Some(traceparent.clone()));
            let deleted = deleted.await.map_err(database::problem)?;
            let summary = summary(&tx, &deleted).await?;
            commit(tx).await?;
            Ok((deleted, summary))
        };
        let deleted = database::past_deadlocks(attempt).await?;
        self.wake.wake();
        Ok(deleted)
    }

    fn new_customer(&self, new: New, traceparent: String) -> Result<NewCustomer, Problem> {
        let New { values, stripe_id } = new;
        self.check(&values.email)?;
        Ok(NewCustomer {
            id: Uuid::now_v7(),
            email: values.email,
            fields: values.fields,
            external_id: values.external_id,
            stripe_id,
            now: self.now(),
            traceparent: Some(traceparent),
        })
    }

    /// Rejects the e-mails that EMAIL_REJECT names.
    fn check(&self, email: &Email) -> Result<(), Problem> {
        let checked = self.email_policy.check(email);
        checked.map_err(|rejection| Problem::invalid("email", format!("email {rejection}")))
    }

    /// The process's clock, which is the database's where that is SQLite: see [`write`]. In whole microseconds, which is
    /// what the database keeps: the answer to a write is what a read will show.
    fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(6)
    }

    /// The database's clock.
    pub(crate) async fn database_now(
        &self,
        db: &impl ConnectionTrait,
    ) -> Result<DateTime<Utc>, Problem> {
        let now = platform::database::now(db, &self.clock).await;
        now.map_err(database::problem)
    }
}

async fn create_in(tx: DatabaseTransaction, new: &NewCustomer) -> Result<Model, Problem> {
    let row = write::create(&tx, new).await.map_err(refusal)?;
    commit(tx).await?;
    Ok(row)
}

async fn locked(
    tx: &DatabaseTransaction,
    key: &Key,
    condition: Option<&Tags>,
) -> Result<Model, Problem> {
    let row = key.lock(tx).await?;
    if condition.is_some_and(|tags| !tags.match_strongly(row.rev)) {
        let detail = format!(
            "the customer is at rev {}, which If-Match does not name",
            row.rev
        );
        return Err(Problem::new(Code::PreconditionFailed, detail).at("If-Match"));
    }
    Ok(row)
}

/// Read before the commit: after it, an answer that fails would hide that the change was made.
async fn summary(tx: &DatabaseTransaction, row: &Model) -> Result<Summary, Problem> {
    Summaries::of_one(tx, row).await.map_err(database::problem)
}

async fn commit(tx: DatabaseTransaction) -> Result<(), Problem> {
    tx.commit().await.map_err(database::problem)
}

async fn rollback(tx: DatabaseTransaction) -> Result<(), Problem> {
    tx.rollback().await.map_err(database::problem)
}

fn repeat(once: &Once, kept: entity::api_idempotency::Model) -> Result<(Answer, bool), Problem> {
    let kept = once.check(kept)?;
    let answer = Answer {
        status: kept.status,
        body: kept.body,
        etag: kept.etag.unwrap_or_default(),
        location: kept.location.unwrap_or_default(),
    };
    Ok((answer, true))
}

fn refusal(error: write::Error) -> Problem {
    match error {
        write::Error::EmailTaken => Problem::email_taken(),
        write::Error::ExternalIdTaken => Problem::external_id_taken(),
        write::Error::StripeIdTaken => Problem::stripe_id_taken(),
        write::Error::Database(error) => database::problem(error),
    }
}
