//! A field that both sides changed to different values: both values are kept, whoever won.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "conflict")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Uuid,
    pub field: String,
    pub base: Option<String>,
    pub database_value: Option<String>,
    pub stripe_value: Option<String>,
    pub winner: Winner,
    pub created_at: DateTimeUtc,
    /// None while it waits for a person's decision.
    pub resolved_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Winner {
    Database,
    Stripe,
    /// Neither yet: the field's owner is `manual`.
    Open,
}

/// The conflicts of one customer that wait for a decision.
pub async fn open_of(db: &impl ConnectionTrait, customer_id: Uuid) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::CustomerId.eq(customer_id))
        .filter(Column::ResolvedAt.is_null())
        .all(db)
        .await
}
