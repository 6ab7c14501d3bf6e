//! How much waits for a person: as many as the lists under attention show.

use entity::parked::Reason;
use entity::{conflict, customer, stripe_link, unmatched};
use poem_openapi::Object;
use poem_openapi::types::Example;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, JoinType, PaginatorTrait, QueryFilter,
    QuerySelect, RelationDef, Select,
};
use serde::Serialize;

use super::number;

/// What waits for a person, as the lists of these names show it.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct Waiting {
    /// Refused deletions included.
    parked: i64,
    conflicts: i64,
    unmatched: i64,
    refused_deletions: i64,
}

impl Waiting {
    pub(super) async fn of(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let refused = Reason::DeletionRefused.as_str();
        let refused = stripe_link::Entity::find()
            .filter(stripe_link::Column::ParkedReason.eq(refused))
            .filter(stripe_link::Column::ParkedDismissedAt.is_null());
        let unmatched = unmatched::Entity::find().filter(unmatched::Column::DismissedAt.is_null());
        Ok(Self {
            parked: number(parked().count(db).await?),
            conflicts: number(conflicts().count(db).await?),
            unmatched: number(unmatched.count(db).await?),
            refused_deletions: number(refused.count(db).await?),
        })
    }
}

/// One that was edited since is on its way again.
fn parked() -> Select<stripe_link::Entity> {
    let to_customer: RelationDef = stripe_link::Entity::belongs_to(customer::Entity)
        .from(stripe_link::Column::CustomerId)
        .to(customer::Column::Id)
        .into();
    let parked_rev = Expr::col((stripe_link::Entity, stripe_link::Column::ParkedRev));
    let rev = Expr::col((customer::Entity, customer::Column::Rev));
    stripe_link::Entity::find()
        .join(JoinType::InnerJoin, to_customer)
        .filter(stripe_link::Column::ParkedAt.is_not_null())
        .filter(stripe_link::Column::ParkedDismissedAt.is_null())
        .filter(parked_rev.gte(rev))
}

/// One of a customer that is deleted is past.
fn conflicts() -> Select<conflict::Entity> {
    let to_customer: RelationDef = conflict::Entity::belongs_to(customer::Entity)
        .from(conflict::Column::CustomerId)
        .to(customer::Column::Id)
        .into();
    conflict::Entity::find()
        .join(JoinType::InnerJoin, to_customer)
        .filter(conflict::Column::ResolvedAt.is_null())
        .filter(conflict::Column::DismissedAt.is_null())
        .filter(customer::Column::DeletedAt.is_null())
}

impl Example for Waiting {
    fn example() -> Self {
        Self {
            parked: 2,
            conflicts: 1,
            unmatched: 0,
            refused_deletions: 0,
        }
    }
}
