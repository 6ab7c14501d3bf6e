//! How far downsync has come, and whose Stripe account it is.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use entity::downsync_state::{ActiveModel, Entity, ID, Model};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel};
use tokio::sync::OnceCell;

use crate::engine::Engine;
use crate::stripe::Lane;

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

/// Whether it is known that the key is one of the account that the database belongs to. Clones share it. A process
/// has one key, so Stripe is asked until it has said so once.
#[derive(Clone, Default)]
pub struct Account(Arc<OnceCell<()>>);

impl Account {
    /// # Errors
    /// Those of [`check_account`].
    pub async fn check(&self, engine: &Engine) -> anyhow::Result<()> {
        self.0.get_or_try_init(|| check_account(engine)).await?;
        Ok(())
    }
}

/// Makes sure that the key still belongs to the account that this database was first used with. With
/// another account's key every customer would look deleted.
///
/// # Errors
/// Another account, or Stripe did not say.
pub async fn check_account(engine: &Engine) -> anyhow::Result<()> {
    let Some(account) = account(engine).await? else {
        return Ok(());
    };
    engine.steps.reach("account: read").await;
    let now = engine.now(&engine.db).await?;
    match load(&engine.db, now).await?.account_id {
        None => {
            store(&engine.db, now, |state| {
                state.account_id = Set(Some(account.clone()));
            })
            .await?;
            tracing::info!(account.id = %account, "this database belongs to this Stripe account from now on");
            Ok(())
        }
        Some(known) => compare(&known, &account),
    }
}

/// The same, writing nothing: a database that belongs to no account yet is good for any. Returns the key's account,
/// if it may be read.
///
/// # Errors
/// As [`check_account`]'s.
pub(crate) async fn read_account(engine: &Engine) -> anyhow::Result<Option<String>> {
    let Some(account) = account(engine).await? else {
        return Ok(None);
    };
    let state = within_bounds(Entity::find_by_id(ID).one(&engine.db)).await?;
    if let Some(known) = state.and_then(|state| state.account_id) {
        compare(&known, &account)?;
    }
    Ok(Some(account))
}

async fn account(engine: &Engine) -> anyhow::Result<Option<String>> {
    match engine.stripe.account(Lane::Downsync).await {
        Ok(reply) => Ok(Some(reply.value.id)),
        // A restricted key may be good for customers and still not say whose it is.
        Err(failure) if failure.status == Some(403) => {
            tracing::debug!("the key may not read its account; the account is not checked");
            Ok(None)
        }
        Err(failure) => Err(failure).context("asking Stripe whose key this is"),
    }
}

fn compare(known: &str, account: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        known == account,
        "the key belongs to Stripe account {account}, but this database to {known}; \
         nothing is sent or compared until STRIPE_SECRET_KEY is one of {known} again"
    );
    Ok(())
}
