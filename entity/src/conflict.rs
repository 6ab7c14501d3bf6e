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
    /// The stamp of an update of ours that replaced Stripe's value before it was read. So Stripe does not hold that value
    /// any more, and the field is not held back. None where both sides held their values when the conflict was noticed.
    pub replaced_by: Option<String>,
}

/// Where it stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Resolved,
    Dismissed,
}

impl Model {
    /// Whether each side keeps its value until a person decides.
    pub fn is_held(&self) -> bool {
        self.resolved_at.is_none() && self.replaced_by.is_none()
    }

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
        let is_replaced = self.replaced_by.is_some();
        match (self.state(), self.winner) {
            (State::Open, _) if is_replaced => {
                "Stripe's value was replaced before it was read; resolve it with side stripe to restore it, or with side database."
            }
            (State::Open, _) => {
                "Resolve it with side database or side stripe; until then both sides keep their values."
            }
            (State::Dismissed, Winner::Open) if is_replaced => {
                "Both sides hold the database's value; resolve it with side stripe if Stripe's was the right one."
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

/// Those of [`open_of`] whose fields each side holds as it is.
pub async fn held_of(db: &impl ConnectionTrait, customer_id: Uuid) -> Result<Vec<Model>, DbErr> {
    let mut open = open_of(db, customer_id).await?;
    open.retain(Model::is_held);
    Ok(open)
}

/// The conflicts of one customer that wait for a decision.
pub async fn open_of(db: &impl ConnectionTrait, customer_id: Uuid) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::CustomerId.eq(customer_id))
        .filter(Column::ResolvedAt.is_null())
        .all(db)
        .await
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn every_state_has_a_sentence_of_what_can_be_done() {
        let times = [None, Some(DateTime::<Utc>::UNIX_EPOCH)];
        for winner in Winner::iter() {
            for (decided_at, dismissed_at) in times.iter().flat_map(|a| times.map(|b| (*a, b))) {
                let conflict = Model {
                    id: Uuid::nil(),
                    customer_id: Uuid::nil(),
                    field: "name".to_owned(),
                    base: None,
                    database_value: None,
                    stripe_value: None,
                    winner,
                    rev: None,
                    created_at: DateTime::UNIX_EPOCH,
                    resolved_at: times[usize::from(winner != Winner::Open)],
                    decided_at,
                    dismissed_at,
                    replaced_by: None,
                };
                let replaced = Model {
                    replaced_by: Some("2-1a2b3c4d-0123456789abcdef".to_owned()),
                    ..conflict.clone()
                };
                for conflict in [conflict, replaced] {
                    let is_open = winner == Winner::Open && dismissed_at.is_none();
                    assert_eq!(conflict.state() == State::Open, is_open);
                    let text = conflict.next_step();
                    assert!(text.ends_with('.') && !text.contains(". "), "{text}");
                    let can_choose = decided_at.is_none() || winner == Winner::Open;
                    assert_eq!(text.contains("esolve it with"), can_choose, "{text}");
                }
            }
        }
    }
}
