//! Writes some customers in one transaction, the way the API writes one: the row and its outbox row together.

use std::collections::HashMap;

use entity::customer;
use entity::email::Policy;
use entity::external_id::ExternalId;
use entity::fields::Invalid;
use entity::write::{self, NewCustomer};
use platform::clock::Clock;
use platform::database::{self, Database, within_bounds};
use platform::telemetry::traceparent;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::record::{Record, Values};

/// How often a customer is written anew because somebody else was quicker, or a deadlock was broken.
const ATTEMPTS: usize = 5;

/// Where records are written, and what is rejected there.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) db: &'a Database,
    pub(super) clock: &'a Clock,
    pub(super) policy: Policy,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Created,
    Updated,
    Unchanged,
    /// The values cannot be stored; why.
    Refused(String),
}

/// Writes all of them, in their order. Where one transaction for all does not go through, each has one of its own.
///
/// # Errors
/// The database does not take them. Those before may be committed; writing them again changes nothing.
pub(super) async fn write(to: Target<'_>, records: &[&Record]) -> Result<Vec<Taken>, write::Error> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    if let Ok(taken) = within_bounds(write_once(to, records)).await {
        return Ok(taken);
    }
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        all.extend(write_alone(to, record).await?);
    }
    Ok(all)
}

async fn write_alone(to: Target<'_>, record: &Record) -> Result<Vec<Taken>, write::Error> {
    let mut attempt = 1;
    loop {
        match within_bounds(write_once(to, &[record])).await {
            Err(write::Error::ExternalIdTaken) => {
                let reason =
                    "another customer has its external_id, and a line finds its customer by e-mail";
                return Ok(vec![Taken::Refused(reason.to_owned())]);
            }
            Err(error) if attempt < ATTEMPTS && !is_away(&error) => attempt += 1,
            taken => return taken,
        }
    }
}

fn is_away(error: &write::Error) -> bool {
    matches!(
        error,
        write::Error::Database(DbErr::Conn(_) | DbErr::ConnectionAcquire(_))
    )
}

async fn write_once(to: Target<'_>, records: &[&Record]) -> Result<Vec<Taken>, write::Error> {
    let tx = database::begin(to.db).await?;
    let now = database::now(&tx, to.clock).await?;
    let mut rows = lock(&tx, records).await?;
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        let known = rows.remove(record.email.key());
        let values = record.values(known.as_ref(), to.policy);
        let (row, taken) = match (values, known) {
            (Err(invalid), known) => (known, refused(&invalid)),
            (Ok(values), None) => {
                let new = NewCustomer {
                    id: Uuid::now_v7(),
                    email: values.email,
                    fields: values.fields,
                    external_id: values.external_id,
                    stripe_id: None,
                    now,
                    traceparent: Some(traceparent()),
                };
                (Some(write::create(&tx, &new).await?), Taken::Created)
            }
            (Ok(values), Some(known)) => update(&tx, known, values, now).await?,
        };
        rows.extend(row.map(|row| (row.email_key.clone(), row)));
        all.push(taken);
    }
    tx.commit().await?;
    Ok(all)
}

fn refused(invalid: &Invalid) -> Taken {
    Taken::Refused(invalid.to_string())
}

async fn update(
    tx: &DatabaseTransaction,
    known: customer::Model,
    values: Values,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(Option<customer::Model>, Taken), write::Error> {
    let external_id = values.external_id.as_ref().map(ExternalId::as_str);
    let values = (&values.email, &values.fields, external_id);
    let updated = write::edit(tx, &known, values, now, Some(traceparent())).await?;
    let taken = if updated.rev == known.rev {
        Taken::Unchanged
    } else {
        Taken::Updated
    };
    Ok((Some(updated), taken))
}

/// The customers that there are already, by their e-mails' keys. Locked in one order, so that two imports wait for
/// each other and do not deadlock.
async fn lock(
    tx: &DatabaseTransaction,
    records: &[&Record],
) -> Result<HashMap<String, customer::Model>, DbErr> {
    let keys = records.iter().map(|record| record.email.key());
    let rows = customer::Entity::find()
        .filter(customer::Column::EmailKey.is_in(keys))
        .filter(customer::Column::DeletedAt.is_null())
        .order_by_asc(customer::Column::Id)
        .lock_exclusive()
        .all(tx)
        .await?;
    let by_key = rows.into_iter().map(|row| (row.email_key.clone(), row));
    Ok(by_key.collect())
}
