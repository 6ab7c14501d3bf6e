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
    /// Of the customer when it was noticed.
    pub rev: Option<i64>,
    pub created_at: DateTimeUtc,
    /// None while it waits for a person's decision.
    pub resolved_at: Option<DateTimeUtc>,
    /// When a person chose the winner. A choice is made once.
    pub decided_at: Option<DateTimeUtc>,
    /// A person has seen it and leaves both sides as they are, until one of them changes.
    pub dismissed_at: Option<DateTimeUtc>,
}

/// Where it stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Resolved,
    Dismissed,
}

impl Model {
    pub fn state(&self) -> State {
        if self.dismissed_at.is_some() {
            State::Dismissed
        } else if self.resolved_at.is_none() {
            State::Open
        } else {
            State::Resolved
        }
    }

    /// What a person can do, in one sentence.
    pub fn next_step(&self) -> &'static str {
        match (self.state(), self.winner) {
            (State::Open, _) => {
                "Resolve it with side database or side stripe; until then both sides keep their values."
            }
            (State::Dismissed, Winner::Open) => {
                "Both sides keep their values; resolve it with one side if one of them is to go."
            }
            (State::Resolved | State::Dismissed, _) if self.decided_at.is_some() => {
                "A person has chosen; edit the customer if the value is to change again."
            }
            (State::Resolved | State::Dismissed, Winner::Database) => {
                "The database's value won; resolve it with side stripe if Stripe's was the right one."
            }
            (State::Resolved | State::Dismissed, Winner::Stripe) => {
                "Stripe's value won; resolve it with side database if the database's was the right one."
            }
            (State::Resolved, Winner::Open) => "Nothing is left to do.",
        }
    }
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

pub async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(db).await
}

/// The conflicts of one customer that wait for a decision.
pub async fn open_of(db: &impl ConnectionTrait, customer_id: Uuid) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::CustomerId.eq(customer_id))
        .filter(Column::ResolvedAt.is_null())
        .all(db)
        .await
}
