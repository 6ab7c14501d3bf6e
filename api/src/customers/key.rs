//! What names a customer in a path or a body: its id or its e-mail.

use entity::customer::{self, Model};
use entity::email::Email;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::database;
use crate::problem::Problem;

pub(crate) enum Key {
    Id(Uuid),
    Email(Email),
}

/// How often a customer is looked up by e-mail again because it was renamed between the look-up and the lock.
const LOOK_UPS: usize = 5;

impl Key {
    /// No e-mail is a UUID, so the two can't be confused.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        if let Ok(id) = Uuid::parse_str(text) {
            return Ok(Self::Id(id));
        }
        Email::parse(text)
            .map(Self::Email)
            .map_err(|_| Problem::no_such_customer())
    }

    /// The living customer.
    pub(crate) async fn find(&self, db: &impl ConnectionTrait) -> Result<Option<Model>, DbErr> {
        match self {
            Self::Id(id) => customer::find_living(db, *id).await,
            Self::Email(email) => customer::find_living_by_email_key(db, email.key()).await,
        }
    }

    /// The living customer, locked until the transaction ends. Rows are locked by id only, and what the key says is
    /// checked again under the lock, because the row may have changed before it was ours.
    pub(crate) async fn lock(&self, tx: &DatabaseTransaction) -> Result<Model, Problem> {
        for _ in 0..LOOK_UPS {
            let found = match self {
                Self::Id(id) => Some(*id),
                Self::Email(_) => self
                    .find(tx)
                    .await
                    .map_err(database::problem)?
                    .map(|row| row.id),
            };
            let id = found.ok_or_else(Problem::no_such_customer)?;
            let row = customer::lock(tx, id).await.map_err(database::problem)?;
            match (self, row) {
                (Self::Email(email), Some(row))
                    if !row.is_deleted() && row.email_key == email.key() =>
                {
                    return Ok(row);
                }
                (Self::Email(_), _) => {}
                (Self::Id(_), Some(row)) if !row.is_deleted() => return Ok(row),
                (Self::Id(_), _) => return Err(Problem::no_such_customer()),
            }
        }
        Err(Problem::unavailable()
            .because("the customer with this e-mail is another one at each look"))
    }
}
