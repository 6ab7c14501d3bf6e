//! The customers of a page that no link names. Those of whom nobody here has ever heard become rows all at once;
//! every other one is looked at by itself, by a drift message.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use chrono::{DateTime, Utc};
use entity::email::Email;
use entity::message::StripeCopy;
use entity::{customer, unmatched};
use platform::database::within_bounds;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::downsync::import::{Newcomer, insert};
use crate::engine::Engine;

/// Imports whom it can; returns how many those were, and the others.
pub(super) async fn import(
    engine: &Engine,
    strangers: Vec<StripeCopy>,
    read_at: DateTime<Utc>,
) -> anyhow::Result<(u64, Vec<StripeCopy>)> {
    if strangers.is_empty() {
        return Ok((0, strangers));
    }
    let known = within_bounds(known(engine, &strangers)).await?;
    let newcomers = newcomers(&strangers, &known);
    if newcomers.is_empty() {
        return Ok((0, strangers));
    }
    let importing = async {
        let tx = engine.begin().await?;
        let now = engine.now(&tx).await?;
        let imported = insert(&tx, &newcomers, (read_at, now)).await?;
        engine.steps.reach_commit("pass: commit").await;
        tx.commit().await?;
        Ok::<_, DbErr>(imported)
    };
    let imported = within_bounds(importing).await;
    let imported = imported.context("importing customers of Stripe's")?;
    let count = imported.len() as u64;
    metrics::counter!("downsync_applied_total", "result" => "imported").increment(count);
    let mut others = strangers;
    others.retain(|copy| !imported.contains(&copy.stripe_id));
    Ok((count, others))
}

/// What the database has heard of the strangers of a page.
struct Known {
    /// Rows, tombstones too.
    rows: HashSet<Uuid>,
    /// E-mails of living rows, in normal form.
    emails: HashSet<String>,
    /// Customers of Stripe's that could not become a row, or that a person has chosen one for.
    unmatched: HashSet<String>,
}

async fn known(engine: &Engine, strangers: &[StripeCopy]) -> Result<Known, DbErr> {
    let named: Vec<Uuid> = strangers
        .iter()
        .filter_map(|copy| copy.customer_id)
        .collect();
    let rows: Vec<Uuid> = if named.is_empty() {
        Vec::new()
    } else {
        customer::Entity::find()
            .select_only()
            .column(customer::Column::Id)
            .filter(customer::Column::Id.is_in(named))
            .into_tuple()
            .all(&engine.db)
            .await?
    };
    let emails = strangers.iter().filter_map(email);
    let emails: Vec<String> = customer::Entity::find()
        .select_only()
        .column(customer::Column::EmailKey)
        .filter(customer::Column::EmailKey.is_in(emails.map(|email| email.key().to_owned())))
        .filter(customer::Column::DeletedAt.is_null())
        .into_tuple()
        .all(&engine.db)
        .await?;
    let ids = strangers.iter().map(|copy| copy.stripe_id.as_str());
    let unmatched: Vec<String> = unmatched::Entity::find()
        .select_only()
        .column(unmatched::Column::StripeId)
        .filter(unmatched::Column::StripeId.is_in(ids))
        .into_tuple()
        .all(&engine.db)
        .await?;
    Ok(Known {
        rows: rows.into_iter().collect(),
        emails: emails.into_iter().collect(),
        unmatched: unmatched.into_iter().collect(),
    })
}

fn email(copy: &StripeCopy) -> Option<Email> {
    Email::parse(copy.fields.email.as_deref()?).ok()
}

/// Those that [`crate::downsync::unlinked`] would import, whatever the order: their e-mail is nobody else's, here or on
/// the page.
fn newcomers<'a>(strangers: &'a [StripeCopy], known: &Known) -> Vec<Newcomer<'a>> {
    let mut holders: HashMap<String, u32> = HashMap::new();
    for email in strangers.iter().filter_map(email) {
        *holders.entry(email.key().to_owned()).or_default() += 1;
    }
    let newcomer = |copy: &'a StripeCopy| {
        let email = email(copy)?;
        let is_known = copy.customer_id.is_some_and(|id| known.rows.contains(&id))
            || known.emails.contains(email.key())
            || known.unmatched.contains(&copy.stripe_id);
        let is_alone = holders.get(email.key()) == Some(&1);
        let is_new = !copy.deleted && !copy.detached && !is_known && is_alone;
        is_new.then_some(Newcomer { copy, email })
    };
    strangers.iter().filter_map(newcomer).collect()
}
