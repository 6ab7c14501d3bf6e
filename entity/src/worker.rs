//! The worker processes that live: each shows itself by the database's clock. One that was killed stays for
//! a while, which tells the next one that something went wrong.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, PaginatorTrait};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "worker")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub started_at: DateTimeUtc,
    pub seen_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Notes that this worker lives.
pub async fn show(db: &impl ConnectionTrait, id: Uuid, now: DateTimeUtc) -> Result<(), DbErr> {
    let shown = ActiveModel {
        id: Set(id),
        started_at: Set(now),
        seen_at: Set(now),
    };
    let again = OnConflict::column(Column::Id)
        .update_column(Column::SeenAt)
        .to_owned();
    Entity::insert(shown)
        .on_conflict(again)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// How many have shown themselves since a time.
pub async fn count_since(db: &impl ConnectionTrait, since: DateTimeUtc) -> Result<u64, DbErr> {
    Entity::find()
        .filter(Column::SeenAt.gt(since))
        .count(db)
        .await
}

/// Whether one has not shown itself since a time, and did not say that it stops.
pub async fn is_any_silent_since(
    db: &impl ConnectionTrait,
    since: DateTimeUtc,
) -> Result<bool, DbErr> {
    let silent = Entity::find()
        .filter(Column::SeenAt.lte(since))
        .one(db)
        .await?;
    Ok(silent.is_some())
}

/// Forgets the worker that stops, or those that were not seen since a time.
pub async fn forget(db: &impl ConnectionTrait, id: Uuid) -> Result<(), DbErr> {
    Entity::delete_by_id(id).exec(db).await?;
    Ok(())
}

/// Forgets those that have not shown themselves since a time.
pub async fn forget_silent_since(
    db: &impl ConnectionTrait,
    since: DateTimeUtc,
) -> Result<(), DbErr> {
    let silent = Entity::delete_many().filter(Column::SeenAt.lte(since));
    silent.exec(db).await?;
    Ok(())
}
