//! What a person decides about a customer that waits for one. Each decision is one transaction under the locks of
//! link and row; what has to reach Stripe is written as any change is, by [`crate::write`], and takes the one way there is.

use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;

use crate::{customer, stripe_link, write};

pub mod conflict;
pub mod parked;
pub mod unmatched;

/// Whose value or state is to hold on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Database,
    Stripe,
}

/// Why a decision is not taken. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("nothing waits here for a decision")]
    NotFound,
    #[error("it was decided before, for the other side")]
    Decided,
    #[error("the value has changed since; read it again")]
    Outdated,
    /// What would be possible.
    #[error("{0}")]
    NotPossible(&'static str),
    #[error("another customer has this e-mail")]
    EmailTaken,
    #[error("no living customer has this id")]
    NoSuchCustomer,
    #[error("this customer is linked to a Stripe customer already")]
    Linked,
    #[error("writing a decision")]
    Database(#[source] DbErr),
}

impl From<DbErr> for Refused {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<write::Error> for Refused {
    fn from(error: write::Error) -> Self {
        match error {
            write::Error::EmailTaken => Self::EmailTaken,
            // No decision changes either.
            write::Error::ExternalIdTaken | write::Error::StripeIdTaken => {
                Self::Database(DbErr::Custom(error.to_string()))
            }
            write::Error::Database(error) => Self::Database(error),
        }
    }
}

/// A customer, its row and link locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct Locked {
    pub row: customer::Model,
    pub link: stripe_link::Model,
}

/// Locks the link and then the row, in the order that everybody does.
///
/// # Errors
/// The customer is unknown, or nothing has ever looked at it.
pub async fn lock(tx: &DatabaseTransaction, customer_id: Uuid) -> Result<Locked, Refused> {
    let link = stripe_link::lock(tx, customer_id).await?;
    let link = link.ok_or(Refused::NotFound)?;
    let row = customer::lock(tx, customer_id).await?;
    let row = row.ok_or(Refused::NotFound)?;
    Ok(Locked { row, link })
}
