//! What a worker has begun to handle and not finished, and how often in a row. An item that ends the process
//! each time is told by that.

use std::collections::HashSet;

use sea_orm::ActiveValue::Set;
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "in_hand")]
pub struct Model {
    /// What is done with it, such as `recheck`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub item: String,
    pub begun: i32,
    pub begun_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Notes that the handling begins; returns how often it has begun without an end, this time included.
pub async fn begin(
    db: &impl ConnectionTrait,
    (kind, item): (&str, &str),
    now: DateTimeUtc,
) -> Result<i32, DbErr> {
    let first = ActiveModel {
        kind: Set(kind.to_owned()),
        item: Set(item.to_owned()),
        begun: Set(1),
        begun_at: Set(now),
    };
    let again = OnConflict::columns([Column::Kind, Column::Item])
        .value(Column::Begun, Expr::col((Entity, Column::Begun)).add(1))
        .update_column(Column::BegunAt)
        .to_owned();
    let begun = Entity::insert(first)
        .on_conflict(again)
        .exec_with_returning(db)
        .await?;
    Ok(begun.begun)
}

/// Of these items, those whose handling has begun and not ended.
pub async fn find(
    db: &impl ConnectionTrait,
    (kind, items): (&str, Vec<String>),
) -> Result<HashSet<String>, DbErr> {
    let found: Vec<String> = Entity::find()
        .select_only()
        .column(Column::Item)
        .filter(Column::Kind.eq(kind))
        .filter(Column::Item.is_in(items))
        .into_tuple()
        .all(db)
        .await?;
    Ok(found.into_iter().collect())
}

/// The handling of each came to an end, whatever came of it.
pub async fn end(db: &impl ConnectionTrait, (kind, items): (&str, &[String])) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::Kind.eq(kind))
        .filter(Column::Item.is_in(items.iter().map(String::as_str)))
        .exec(db)
        .await?;
    Ok(())
}
