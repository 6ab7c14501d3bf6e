//! A Stripe customer that cannot become a row, and why. Shown to people; never touched by us.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction};

use crate::customer;
use crate::email::Email;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "unmatched")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub stripe_id: String,
    pub reason: Reason,
    /// The address as Stripe has it, if it has one.
    pub email: Option<String>,
    /// The row that owns the address, or owned it until it was deleted. Cleared by the person who retries the entry of
    /// a deleted row: then it may become a new one.
    pub customer_id: Option<Uuid>,
    pub created_at: DateTimeUtc,
    /// A person has seen it and leaves it as it is. Of one under review: it is nobody's of ours.
    pub dismissed_at: Option<DateTimeUtc>,
    /// The worker reads it again from then on.
    pub recheck_at: Option<DateTimeUtc>,
    /// The row that a person has chosen for it; linked when it is read again.
    pub link_to: Option<Uuid>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether its address, by its normal form, is this one.
    pub fn has_email_key(&self, key: &str) -> bool {
        let email = Email::parse(self.email.as_deref().unwrap_or_default());
        email.is_ok_and(|email| email.key() == key)
    }
}

/// The Stripe customers that could take the place of the one that the row is linked to: they name the row or share its
/// address, and no person has dismissed them.
pub async fn find_substitutes(
    db: &impl ConnectionTrait,
    row: &customer::Model,
) -> Result<Vec<Model>, DbErr> {
    let mut found = Entity::find()
        .filter(Column::CustomerId.eq(row.id))
        .filter(Column::DismissedAt.is_null())
        .all(db)
        .await?;
    found.retain(|entry| {
        entry.reason == Reason::Duplicate
            || entry.reason.is_by_email() && entry.has_email_key(&row.email_key)
    });
    Ok(found)
}

/// Has customers read again, unless that is due already.
pub async fn reread(
    tx: &DatabaseTransaction,
    stripe_ids: &[String],
    at: DateTimeUtc,
) -> Result<(), DbErr> {
    let is_later = Condition::any()
        .add(Column::RecheckAt.is_null())
        .add(Column::RecheckAt.gt(at));
    Entity::update_many()
        .col_expr(Column::RecheckAt, Expr::value(at))
        .filter(Column::StripeId.is_in(stripe_ids))
        .filter(is_later)
        .exec(tx)
        .await?;
    Ok(())
}

/// It became a row, or is gone.
pub async fn forget(tx: &DatabaseTransaction, stripe_id: &str) -> Result<(), DbErr> {
    Entity::delete_by_id(stripe_id).exec(tx).await?;
    Ok(())
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Reason {
    /// It has no e-mail.
    NoEmail,
    /// Its e-mail is not one that a row may have.
    InvalidEmail,
    /// A row with this e-mail is linked to another Stripe customer.
    EmailTaken,
    /// It cannot be read.
    Unreadable,
    /// A redaction job has removed personal data of it.
    Redacted,
    /// It names a row that is linked to another Stripe customer.
    Duplicate,
    /// It matches a row by e-mail only, and such links are to be reviewed.
    Review,
    /// The row with this e-mail was deleted while this customer was in Stripe.
    CustomerDeleted,
}

impl Reason {
    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEmail => "no_email",
            Self::InvalidEmail => "invalid_email",
            Self::EmailTaken => "email_taken",
            Self::Unreadable => "unreadable",
            Self::Redacted => "redacted",
            Self::Duplicate => "duplicate",
            Self::Review => "review",
            Self::CustomerDeleted => "customer_deleted",
        }
    }

    /// Whether the row of the entry is the one with the same address.
    pub fn is_by_email(self) -> bool {
        match self {
            Self::EmailTaken | Self::Review | Self::CustomerDeleted => true,
            Self::NoEmail
            | Self::InvalidEmail
            | Self::Unreadable
            | Self::Redacted
            | Self::Duplicate => false,
        }
    }

    /// What a person can do, in one sentence.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::NoEmail => {
                "Give it an e-mail in Stripe and it becomes a customer here, or link it to a customer that is not \
                 in Stripe yet."
            }
            Self::InvalidEmail => {
                "Correct its e-mail in Stripe and it becomes a customer here, or link it to a customer that is not \
                 in Stripe yet."
            }
            Self::EmailTaken => {
                "Another Stripe customer with this e-mail is linked; change or delete one of the two in Stripe, or \
                 dismiss this."
            }
            Self::Unreadable => {
                "Look at it in Stripe's dashboard and correct what is odd about it; it is read again with the next full \
                 pass."
            }
            Self::Redacted => {
                "Nothing has to be done; give it values in Stripe and it becomes a customer here, or dismiss this."
            }
            Self::Duplicate => {
                "It names a customer that is linked to another Stripe customer; delete one of the two in Stripe, or \
                 dismiss this."
            }
            Self::Review => {
                "Link it to the customer with the same e-mail if the two are the same, or dismiss this and resolve \
                 the parked customer with side database to send it to Stripe anew."
            }
            Self::CustomerDeleted => {
                "Retry this to make it a new customer here, delete it in Stripe too, or dismiss this."
            }
        }
    }
}

/// Whether a person has reviewed this customer of Stripe's and said that it is nobody's of ours.
pub async fn is_dismissed(db: &impl ConnectionTrait, stripe_id: &str) -> Result<bool, DbErr> {
    let found = Entity::find_by_id(stripe_id)
        .filter(Column::Reason.eq(Reason::Review))
        .filter(Column::DismissedAt.is_not_null())
        .one(db)
        .await?;
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_reason_has_the_code_that_is_stored_and_a_sentence() {
        for reason in Reason::iter() {
            assert_eq!(reason.to_value(), reason.as_str());
            let text = reason.next_step();
            assert!(text.ends_with('.') && !text.contains(". "), "{text}");
        }
    }
}
