//! How a customer is changed, by an application or by what was done in Stripe: the row and its outbox
//! row, in one transaction.
//!
//! Nothing else is written and nothing is waited for, so a write needs neither a broker nor Stripe. On Postgres every
//! row is stamped with the server's clock, by the statement that writes it; the `now` of a caller is for SQLite.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::{NotSet, Set, Unchanged};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, QueryFilter, SqlErr, Statement,
};
use uuid::Uuid;

use crate::customer::{self, Column};
use crate::email::Email;
use crate::fields::{Fields, Fieldset};
use crate::message::{Changed, Origin};
use crate::outbox::{self, Kind};
use crate::time::present;

/// What a new customer starts with.
#[derive(Clone, Debug)]
pub struct NewCustomer {
    /// A UUID v7 made by the caller.
    pub id: Uuid,
    pub email: Email,
    /// Canonical and valid; its e-mail is `email`'s.
    pub fields: Fields,
    /// For SQLite, as everywhere here.
    pub now: DateTime<Utc>,
    pub traceparent: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another customer has this e-mail")]
    EmailTaken,
    #[error("writing a customer")]
    Database(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(detail)) if detail.contains("email_key") => {
                Self::EmailTaken
            }
            _ => Self::Database(error),
        }
    }
}

/// Whether [`create_alone`] works here: only Postgres can insert both rows in one statement.
pub fn can_create_alone(db: &impl ConnectionTrait) -> bool {
    db.get_database_backend() == DbBackend::Postgres
}

/// The payload is that of [`Changed`], with the times of the row.
const CREATE: &str = "\
    WITH created AS (\
        INSERT INTO customer (id, email, email_key, name, phone, description, rev, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, 1, statement_timestamp(), statement_timestamp()) \
        RETURNING id, rev, created_at, \
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS text), \
    told AS (\
        INSERT INTO outbox (customer_id, rev, kind, origin, payload, traceparent, fields, created_at) \
        SELECT id, rev, 'created', 'application', $7::jsonb || jsonb_build_object('created_at', text, 'updated_at', text), \
            $8, $9, created_at \
        FROM created) \
    SELECT created_at FROM created";

/// Creates a customer by one statement, which is its own transaction: one round trip, not four.
pub async fn create_alone(
    db: &impl ConnectionTrait,
    new: &NewCustomer,
) -> Result<customer::Model, Error> {
    create_on_postgres(db, new).await
}

async fn create_on_postgres(
    db: &impl ConnectionTrait,
    new: &NewCustomer,
) -> Result<customer::Model, Error> {
    let mut row = first_state(new);
    let values = [
        row.id.into(),
        row.email.clone().into(),
        row.email_key.clone().into(),
        row.name.clone().into(),
        row.phone.clone().into(),
        row.description.clone().into(),
        Changed::of(&row, Origin::Application).to_json().into(),
        new.traceparent.clone().into(),
        new.fields.named().into(),
    ];
    let create = Statement::from_sql_and_values(DbBackend::Postgres, CREATE, values);
    let created = db.query_one_raw(create).await?;
    let created = created.ok_or(DbErr::RecordNotInserted)?;
    row.created_at = created.try_get("", "created_at")?;
    row.updated_at = row.created_at;
    Ok(row)
}

/// Creates a customer within a transaction.
pub async fn create(tx: &DatabaseTransaction, new: &NewCustomer) -> Result<customer::Model, Error> {
    if tx.get_database_backend() == DbBackend::Postgres {
        return create_on_postgres(tx, new).await;
    }
    let row = first_state(new);
    insert(tx, &row).await?;
    let change = (Kind::Created, Origin::Application, new.fields.named());
    outbox::enqueue(tx, &row, change, new.traceparent.clone()).await?;
    Ok(row)
}

/// Gives a locked row new values, canonical and valid. Values that it has already are no change: the
/// row keeps its rev and nothing is enqueued.
pub async fn update(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    (email, fields): (&Email, &Fields),
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, Error> {
    if row.fields() == *fields {
        return Ok(row.clone());
    }
    let changed = Fieldset(row.fields().differing(fields));
    let updated = store(tx, row, (email, fields), now).await?;
    let change = (Kind::Updated, Origin::Application, changed);
    outbox::enqueue(tx, &updated, change, traceparent).await?;
    Ok(updated)
}

/// Asks for a locked row to be sent again as it is, at `rev + 1`: what a person does who means it.
pub async fn resend(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, Error> {
    let again = customer::ActiveModel {
        rev: Set(row.rev + 1),
        ..Default::default()
    };
    let again = save(tx, row.id, (again, &[Column::UpdatedAt]), now).await?;
    let kind = if again.is_deleted() {
        Kind::Deleted
    } else {
        Kind::Updated
    };
    let change = (kind, Origin::Application, Fieldset::default());
    outbox::enqueue(tx, &again, change, traceparent).await?;
    Ok(again)
}

/// Makes a locked row a tombstone.
pub async fn delete(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, DbErr> {
    let deleted = end(tx, row, now).await?;
    let change = (Kind::Deleted, Origin::Application, Fieldset::default());
    outbox::enqueue(tx, &deleted, change, traceparent).await?;
    Ok(deleted)
}

/// Gives a locked row the values that Stripe has, canonical and valid. At least one of them is new.
pub async fn take(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    (email, fields): (&Email, &Fields),
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, Error> {
    let changed = Fieldset(row.fields().differing(fields));
    let taken = store(tx, row, (email, fields), now).await?;
    let change = (Kind::Updated, Origin::Stripe, changed);
    outbox::enqueue(tx, &taken, change, traceparent).await?;
    Ok(taken)
}

/// Makes a locked row a tombstone, because the customer was deleted in Stripe.
pub async fn bury(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, DbErr> {
    let buried = end(tx, row, now).await?;
    let change = (Kind::Deleted, Origin::Stripe, Fieldset::default());
    outbox::enqueue(tx, &buried, change, traceparent).await?;
    Ok(buried)
}

async fn insert(tx: &DatabaseTransaction, row: &customer::Model) -> Result<(), Error> {
    let insert = customer::ActiveModel {
        id: Set(row.id),
        email: Set(row.email.clone()),
        email_key: Set(row.email_key.clone()),
        name: Set(row.name.clone()),
        phone: Set(row.phone.clone()),
        description: Set(row.description.clone()),
        rev: Set(row.rev),
        change_xid: NotSet,
        deleted_at: Set(row.deleted_at),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
    };
    customer::Entity::insert(insert)
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

async fn store(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    (email, fields): (&Email, &Fields),
    now: DateTime<Utc>,
) -> Result<customer::Model, Error> {
    let updated = customer::ActiveModel {
        email: Set(email.as_given().to_owned()),
        email_key: Set(email.key().to_owned()),
        name: Set(fields.name.clone()),
        phone: Set(fields.phone.clone()),
        description: Set(fields.description.clone()),
        rev: Set(row.rev + 1),
        ..Default::default()
    };
    Ok(save(tx, row.id, (updated, &[Column::UpdatedAt]), now).await?)
}

const CHANGE_XID: &str = "greatest(change_xid, CAST(CAST(pg_current_xact_id() AS text) AS bigint))";

/// Changes a locked row and stamps these columns of it.
async fn save(
    tx: &DatabaseTransaction,
    id: Uuid,
    (change, stamps): (customer::ActiveModel, &[Column]),
    now: DateTime<Utc>,
) -> Result<customer::Model, DbErr> {
    let mut saving = customer::Entity::update_many().set(change);
    for column in stamps {
        saving = saving.col_expr(*column, present(tx, now));
    }
    if tx.get_database_backend() == DbBackend::Postgres {
        saving = saving.col_expr(Column::ChangeXid, Expr::cust(CHANGE_XID));
    }
    let saved = saving
        .filter(Column::Id.eq(id))
        .exec_with_returning(tx)
        .await?;
    saved.into_iter().next().ok_or(DbErr::RecordNotUpdated)
}

/// Frees a locked row's e-mail for another row, within one transaction: before it ends, [`take`] gives the
/// row another one.
pub async fn give_up_email(tx: &DatabaseTransaction, row: &customer::Model) -> Result<(), DbErr> {
    let given_up = customer::ActiveModel {
        id: Unchanged(row.id),
        email_key: Set(row.id.to_string()),
        ..Default::default()
    };
    given_up.update(tx).await?;
    Ok(())
}

async fn end(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    now: DateTime<Utc>,
) -> Result<customer::Model, DbErr> {
    let buried = customer::ActiveModel {
        rev: Set(row.rev + 1),
        ..Default::default()
    };
    let stamps = [Column::DeletedAt, Column::UpdatedAt];
    save(tx, row.id, (buried, &stamps), now).await
}

fn first_state(new: &NewCustomer) -> customer::Model {
    customer::Model {
        id: new.id,
        email: new.email.as_given().to_owned(),
        email_key: new.email.key().to_owned(),
        name: new.fields.name.clone(),
        phone: new.fields.phone.clone(),
        description: new.fields.description.clone(),
        rev: 1,
        change_xid: 0,
        deleted_at: None,
        created_at: new.now,
        updated_at: new.now,
    }
}
