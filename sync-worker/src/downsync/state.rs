//! How far downsync has come.

use chrono::{DateTime, Utc};
use entity::downsync_state::{ActiveModel, Entity, ID, Model};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel};

/// The one row, made if it is missing.
pub async fn load(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<Model, DbErr> {
    within_bounds(find_or_make(db, now)).await
}

async fn find_or_make(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<Model, DbErr> {
    if let Some(state) = Entity::find_by_id(ID).one(db).await? {
        return Ok(state);
    }
    let fresh = ActiveModel {
        id: Set(ID),
        updated_at: Set(now),
        ..Default::default()
    };
    Entity::insert(fresh)
        .on_conflict(
            OnConflict::column(entity::downsync_state::Column::Id)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(db)
        .await?;
    Entity::find_by_id(ID)
        .one(db)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound("downsync_state".to_owned()))
}

/// Changes the one row.
pub async fn store(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    change: impl FnOnce(&mut ActiveModel),
) -> Result<(), DbErr> {
    let mut state = load(db, now).await?.into_active_model();
    change(&mut state);
    state.updated_at = Set(now);
    within_bounds(Entity::update(state).exec(db)).await?;
    Ok(())
}
