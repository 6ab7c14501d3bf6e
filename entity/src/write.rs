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
use crate::external_id::ExternalId;
use crate::fields::{Fields, Member, Members};
use crate::message::{Changed, Origin};
use crate::outbox::{self, Kind};
use crate::time::present;
use crate::{stripe_link, unmatched};

/// What a new customer starts with.
#[derive(Clone, Debug)]
pub struct NewCustomer {
    /// A UUID v7 made by the caller.
    pub id: Uuid,
    pub email: Email,
    /// Canonical and valid; its e-mail is `email`'s.
    pub fields: Fields,
    pub external_id: Option<ExternalId>,
    /// The Stripe customer that it is to be linked to. The worker reads that one before it sends anything.
    pub stripe_id: Option<String>,
    /// For SQLite, as everywhere here.
    pub now: DateTime<Utc>,
    pub traceparent: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another customer has this e-mail")]
    EmailTaken,
    #[error("another customer has this external_id")]
    ExternalIdTaken,
    #[error("another customer is linked to this Stripe customer")]
    StripeIdTaken,
    #[error("writing a customer")]
    Database(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(detail)) if detail.contains("email_key") => {
                Self::EmailTaken
            }
            Some(SqlErr::UniqueConstraintViolation(detail)) if detail.contains("external_id") => {
                Self::ExternalIdTaken
            }
            Some(SqlErr::UniqueConstraintViolation(detail)) if detail.contains("stripe_id") => {
                Self::StripeIdTaken
            }
            _ => Self::Database(error),
        }
    }
}

/// Whether [`create_alone`] can create it: only Postgres can insert the row and its outbox row in one statement, and a
/// link takes another one.
pub fn can_create_alone(db: &impl ConnectionTrait, new: &NewCustomer) -> bool {
    db.get_database_backend() == DbBackend::Postgres && new.stripe_id.is_none()
}

/// The payload is that of [`Changed`], with the times of the row.
const CREATE: &str = "\
    WITH created AS (\
        INSERT INTO customer (id, email, email_key, name, phone, description, external_id, rev, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, 1, statement_timestamp(), statement_timestamp()) \
        RETURNING id, rev, created_at, \
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS text), \
    told AS (\
        INSERT INTO outbox (customer_id, rev, kind, origin, payload, traceparent, fields, created_at) \
        SELECT id, rev, 'created', 'application', $8::jsonb || jsonb_build_object('created_at', text, 'updated_at', text), \
            $9, $10, created_at \
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
        row.external_id.clone().into(),
        Changed::of(&row, Origin::Application).to_json().into(),
        new.traceparent.clone().into(),
        row.members().into(),
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
    let row = match tx.get_database_backend() {
        DbBackend::Postgres => create_on_postgres(tx, new).await?,
        _ => create_in_steps(tx, new).await?,
    };
    if let Some(stripe_id) = &new.stripe_id {
        link(tx, &row, stripe_id).await?;
    }
    Ok(row)
}

async fn create_in_steps(
    tx: &DatabaseTransaction,
    new: &NewCustomer,
) -> Result<customer::Model, Error> {
    let row = first_state(new);
    insert(tx, &row).await?;
    let change = (Kind::Created, Origin::Application, row.members());
    outbox::enqueue(tx, &row, change, new.traceparent.clone()).await?;
    Ok(row)
}

/// Links a new row. There is no base: nothing was agreed on, so nothing is sent before the Stripe customer was read.
async fn link(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    stripe_id: &str,
) -> Result<(), Error> {
    let mut link = stripe_link::ActiveModel {
        stripe_id: Set(Some(stripe_id.to_owned())),
        ..stripe_link::fresh(row.id, row.created_at)
    };
    link.set_fingerprint();
    stripe_link::Entity::insert(link)
        .exec_without_returning(tx)
        .await?;
    unmatched::forget(tx, stripe_id).await?;
    Ok(())
}

/// Gives a locked row new values, canonical and valid, and leaves its `external_id`. Values that it has already are no
/// change: the row keeps its rev and nothing is enqueued.
pub async fn update(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    (email, fields): (&Email, &Fields),
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, Error> {
    let values = (email, fields, row.external_id.as_deref());
    edit(tx, row, values, now, traceparent).await
}

/// The same, with the `external_id` that the row is to have.
pub async fn edit(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    (email, fields, external_id): (&Email, &Fields, Option<&str>),
    now: DateTime<Utc>,
    traceparent: Option<String>,
) -> Result<customer::Model, Error> {
    let mut changed: Members = row.fields().differing(fields).into_iter().collect();
    if row.external_id.as_deref() != external_id {
        changed.0.push(Member::ExternalId);
    }
    if changed.0.is_empty() {
        return Ok(row.clone());
    }
    let updated = store(tx, row, (email, fields, external_id), now).await?;
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
    let change = (kind, Origin::Application, Members::default());
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
    let change = (Kind::Deleted, Origin::Application, Members::default());
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
    let changed = row.fields().differing(fields).into_iter().collect();
    let values = (email, fields, row.external_id.as_deref());
    let taken = store(tx, row, values, now).await?;
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
    let change = (Kind::Deleted, Origin::Stripe, Members::default());
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
        external_id: Set(row.external_id.clone()),
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
    (email, fields, external_id): (&Email, &Fields, Option<&str>),
    now: DateTime<Utc>,
) -> Result<customer::Model, Error> {
    let updated = customer::ActiveModel {
        email: Set(email.as_given().to_owned()),
        email_key: Set(email.key().to_owned()),
        name: Set(fields.name.clone()),
        phone: Set(fields.phone.clone()),
        description: Set(fields.description.clone()),
        external_id: Set(external_id.map(str::to_owned)),
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
        external_id: new.external_id.clone().map(ExternalId::into_string),
        rev: 1,
        change_xid: 0,
        deleted_at: None,
        created_at: new.now,
        updated_at: new.now,
    }
}
