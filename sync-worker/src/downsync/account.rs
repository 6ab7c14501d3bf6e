//! Which Stripe account and mode this database belongs to. Both are pinned at the first verified contact; with a key
//! of any other account or mode nothing is sent, imported or compared.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use entity::downsync_state::{Column, Entity, ID, Model};
use entity::stripe_link;
use platform::database::within_bounds;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::state::load;
use crate::config::SANDBOX_ACCOUNT;
use crate::engine::Engine;
use crate::lane::code;
use crate::outcome::is_missing;
use crate::stripe::Lane;

/// Linked customers that Stripe is asked for before it counts as one that holds none of them.
const SAMPLE: u64 = 3;

/// Whether the key is known to be one of the account and mode that the database belongs to. Clones share it. A process
/// has one key, so Stripe is asked until it has confirmed that once.
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

/// An account and its mode, as far as they are known: of a key, or of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// None where the key may not read its account.
    pub account: Option<String>,
    /// None where the key's prefix does not say it and no object has shown it yet.
    pub livemode: Option<bool>,
}

/// The key is not one of the account and mode that the database belongs to.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct OtherIdentity {
    /// Of [`crate::lane::code`].
    pub(crate) code: &'static str,
    detail: String,
}

impl OtherIdentity {
    fn account(detail: String) -> Self {
        Self {
            code: code::OTHER_ACCOUNT,
            detail,
        }
    }

    fn mode(detail: String) -> Self {
        Self {
            code: code::OTHER_MODE,
            detail,
        }
    }
}

/// Makes sure that the key belongs to the account and the mode that this database was first used with, and pins what
/// is not pinned yet. With any other key every customer would look deleted, and every create would be a duplicate.
///
/// # Errors
/// Another account or mode, or Stripe did not answer.
pub async fn check_account(engine: &Engine) -> anyhow::Result<()> {
    let key = identity_of_key(engine).await?;
    engine.steps.reach("account: read").await;
    let now = engine.now(&engine.db).await?;
    let pinned = Identity::pinned(&load(&engine.db, now).await?);
    compare(&pinned, &key)?;
    if let Some(livemode) = pinned.livemode {
        engine.stripe.expect_livemode(livemode);
    }
    if pinned.account.is_some() && pinned.livemode.is_some() && key.account.is_some() {
        return Ok(());
    }
    // The account or the mode cannot be compared, so a customer has to prove that it is the right one.
    verify_by_customer(engine).await?;
    let key = Identity {
        livemode: engine.stripe.livemode(),
        ..key
    };
    let has_pinned = within_bounds(pin(engine, &key)).await?;
    // Another worker may have been first.
    let pinned_now = Identity::pinned(&load(&engine.db, now).await?);
    compare(&pinned_now, &key)?;
    if has_pinned {
        tracing::info!(
            account.id = pinned_now.account.as_deref(),
            livemode = pinned_now.livemode,
            "this database belongs to this Stripe account and mode from now on"
        );
    }
    Ok(())
}

/// The same, writing nothing: a database that belongs to no account yet is good for any. Returns the key's account
/// and mode.
///
/// # Errors
/// As [`check_account`]'s.
pub(crate) async fn read_account(engine: &Engine) -> anyhow::Result<Identity> {
    let key = identity_of_key(engine).await?;
    let state = within_bounds(Entity::find_by_id(ID).one(&engine.db)).await?;
    let pinned = state.as_ref().map(Identity::pinned).unwrap_or_default();
    compare(&pinned, &key)?;
    if pinned.account.is_none() || pinned.livemode.is_none() || key.account.is_none() {
        verify_by_customer(engine).await?;
    }
    Ok(key)
}

impl Identity {
    /// That of the database.
    pub fn pinned(state: &Model) -> Self {
        Self {
            account: state.account_id.clone(),
            livemode: state.livemode,
        }
    }
}

async fn identity_of_key(engine: &Engine) -> anyhow::Result<Identity> {
    match engine.stripe.account(Lane::Downsync).await {
        Ok(reply) => Ok(Identity {
            account: Some(reply.value.id),
            livemode: reply.value.livemode,
        }),
        // A restricted key may be good for customers and still not read its account. Its mode is known all the same.
        Err(failure) if failure.status == Some(403) => {
            tracing::debug!("the key may not read its account");
            Ok(Identity {
                account: None,
                livemode: engine.stripe.livemode(),
            })
        }
        Err(failure) => Err(failure).context("asking Stripe whose key this is"),
    }
}

/// Compares a key with what is pinned. What is unknown on either side agrees with anything. Pure.
///
/// # Errors
/// Another account, or another mode.
pub fn compare(pinned: &Identity, key: &Identity) -> anyhow::Result<()> {
    if let (Some(known), Some(account)) = (&pinned.account, &key.account) {
        ensure!(
            known == account,
            OtherIdentity::account(format!(
                "STRIPE_SECRET_KEY is a key of account {}, but this database belongs to {}: nothing is sent or \
                 compared; give {account} a database of its own (DATABASE_URL, or DATA_DIR), or set a key of {known}",
                named(account),
                named(known)
            ))
        );
    }
    if let (Some(known), Some(livemode)) = (pinned.livemode, key.livemode) {
        let (known_mode, mode) = (mode(known), mode(livemode));
        ensure!(
            known == livemode,
            OtherIdentity::mode(format!(
                "STRIPE_SECRET_KEY is a key of Stripe's {mode} mode, but this database belongs to {known_mode} mode: \
                 nothing is sent or compared; give {mode} mode a database of its own (DATABASE_URL, or DATA_DIR), or \
                 set a {known_mode} mode key"
            ))
        );
    }
    Ok(())
}

/// The account, and whether it is the sandbox's.
fn named(account: &str) -> String {
    match account {
        SANDBOX_ACCOUNT => format!("{account} (the sandbox's)"),
        _ => account.to_owned(),
    }
}

/// Stripe's word for a mode.
pub fn mode(livemode: bool) -> &'static str {
    if livemode { "live" } else { "test" }
}

/// Asks Stripe for some of the newest linked customers until it knows one, living or deleted. A database without any
/// needs no proof.
async fn verify_by_customer(engine: &Engine) -> anyhow::Result<()> {
    let linked: Vec<String> = within_bounds(newest_linked(engine)).await?;
    for stripe_id in &linked {
        match engine.stripe.retrieve(Lane::Downsync, stripe_id).await {
            Ok(_) => return Ok(()),
            Err(failure) if is_missing(&failure) => {}
            Err(failure) if failure.is_of_other_mode() => bail!(OtherIdentity::mode(format!(
                "STRIPE_SECRET_KEY is a key of the other mode: {stripe_id} is linked in this database, and Stripe has a \
                 customer like it in the other mode; nothing is sent or compared until the key is one of that mode"
            ))),
            Err(failure) => return Err(failure).context("reading a linked customer"),
        }
    }
    ensure!(
        linked.is_empty(),
        OtherIdentity::account(format!(
            "Stripe knows none of the customers that this database is linked to ({}): STRIPE_SECRET_KEY is probably one of \
             another account or mode; nothing is sent or compared until Stripe knows them",
            linked.join(", ")
        ))
    );
    Ok(())
}

async fn newest_linked(engine: &Engine) -> Result<Vec<String>, DbErr> {
    stripe_link::Entity::find()
        .select_only()
        .column(stripe_link::Column::StripeId)
        .filter(stripe_link::Column::StripeId.is_not_null())
        .order_by_desc(stripe_link::Column::CustomerId)
        .limit(SAMPLE)
        .into_tuple()
        .all(&engine.db)
        .await
}

/// Pins what is known of the key and not pinned yet; returns whether that was anything.
async fn pin(engine: &Engine, key: &Identity) -> Result<bool, DbErr> {
    let mut pinned = 0;
    if let Some(account) = &key.account {
        let update = Entity::update_many()
            .col_expr(Column::AccountId, Expr::value(account.clone()))
            .filter(Column::Id.eq(ID))
            .filter(Column::AccountId.is_null());
        pinned += update.exec(&engine.db).await?.rows_affected;
    }
    if let Some(livemode) = key.livemode {
        let update = Entity::update_many()
            .col_expr(Column::Livemode, Expr::value(livemode))
            .filter(Column::Id.eq(ID))
            .filter(Column::Livemode.is_null());
        pinned += update.exec(&engine.db).await?.rows_affected;
    }
    Ok(pinned > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(account: Option<&str>, livemode: Option<bool>) -> Identity {
        Identity {
            account: account.map(str::to_owned),
            livemode,
        }
    }

    #[test]
    fn key_of_another_account_or_mode_is_refused() {
        let pinned = identity(Some("acct_1"), Some(true));
        for (key, word) in [
            (identity(Some("acct_2"), Some(true)), "acct_2"),
            (identity(Some("acct_1"), Some(false)), "test mode"),
            (identity(None, Some(false)), "test mode"),
        ] {
            let error = compare(&pinned, &key).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn refusal_names_the_sandbox_and_the_remedy() {
        let pinned = identity(Some(SANDBOX_ACCOUNT), Some(false));
        let key = identity(Some("acct_2"), Some(false));
        let error = compare(&pinned, &key).unwrap_err().to_string();
        assert!(error.contains("(the sandbox's)"), "{error}");
        assert!(error.contains("DATABASE_URL"), "{error}");
    }

    #[test]
    fn unknown_account_or_mode_agrees_with_any() {
        let key = identity(Some("acct_1"), Some(true));
        for pinned in [
            identity(None, None),
            identity(Some("acct_1"), None),
            identity(None, Some(true)),
            key.clone(),
        ] {
            compare(&pinned, &key).unwrap();
        }
        compare(&key, &identity(None, Some(true))).unwrap();
    }
}
