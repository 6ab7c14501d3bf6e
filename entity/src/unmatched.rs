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
