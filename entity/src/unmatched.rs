//! A Stripe customer that cannot become a row, and why. Shown to people; never touched by us.

use sea_orm::DatabaseTransaction;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "unmatched")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub stripe_id: String,
    pub reason: Reason,
    /// The address as Stripe has it, if it has one.
    pub email: Option<String>,
    /// The row that owns the address, where that is the reason.
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
    /// It names a row that is linked to another Stripe customer.
    Duplicate,
    /// It matches a row by e-mail only, and such links are to be reviewed.
    Review,
}

impl Reason {
    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEmail => "no_email",
            Self::InvalidEmail => "invalid_email",
            Self::EmailTaken => "email_taken",
            Self::Duplicate => "duplicate",
            Self::Review => "review",
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
            Self::Duplicate => {
                "It names a customer that is linked to another Stripe customer; delete one of the two in Stripe, or \
                 dismiss this."
            }
            Self::Review => {
                "Link it to the customer with the same e-mail if the two are the same, or dismiss this and retry the \
                 parked customer to create another one in Stripe."
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
