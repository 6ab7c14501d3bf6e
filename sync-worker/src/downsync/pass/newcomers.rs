//! The customers of a page that no link names. Those of whom nobody here has ever heard become rows all at once;
//! every other one is looked at by itself, by a drift message.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use entity::email::Email;
use entity::message::Drift;
use entity::{customer, unmatched};
use platform::database::within_bounds;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::downsync::import::{Newcomer, insert};
use crate::engine::Engine;

/// Rows of a statement: few enough that all statements but the last are the same one, which the database plans once.
const AT_ONCE: usize = 100;

/// Imports whom it can; returns how many those were, and the others.
pub(super) async fn import(
    engine: &Engine,
    strangers: Vec<Drift>,
) -> anyhow::Result<(u64, Vec<Drift>)> {
    if strangers.is_empty() {
        return Ok((0, strangers));
    }
    let known = within_bounds(known(engine, &strangers)).await?;
    let mut newcomers = newcomers(&strangers, &known);
    // In one order everywhere, so that two of them never wait for each other.
    newcomers.sort_by(|a, b| a.email.key().cmp(b.email.key()));
    if newcomers.is_empty() {
        return Ok((0, strangers));
    }
    engine.steps.reach("pass: import").await;
    let importing = async {
        let tx = engine.begin().await?;
        let now = engine.now(&tx).await?;
        let mut imported = HashSet::new();
        for some in newcomers.chunks(AT_ONCE) {
            imported.extend(insert(&tx, some, engine.policy.publish_imports, now).await?);
        }
        // One that was deleted since it was looked for, and could be inserted again for that.
        if !imported.is_empty()
            && !tombstones(&tx, &strangers)
                .await?
                .is_subset(&known.tombstones)
        {
            tx.rollback().await?;
            return Ok(HashSet::new());
        }
        engine.steps.reach_commit("pass: commit").await;
        tx.commit().await?;
        Ok::<_, DbErr>(imported)
    };
    let imported = within_bounds(importing).await;
    let imported = imported.context("importing customers of Stripe's")?;
    let count = imported.len() as u64;
    metrics::counter!("downsync_applied_total", "result" => "imported").increment(count);
    let mut others = strangers;
    others.retain(|drift| !imported.contains(&drift.copy.stripe_id));
    Ok((count, others))
}

/// What the database has heard of the strangers of a page.
struct Known {
    /// Rows, tombstones too.
    rows: HashSet<Uuid>,
    /// Customers of Stripe's that could not become a row, or that a person has chosen one for.
    unmatched: HashSet<String>,
    /// The e-mails of deleted rows, in normal form.
    tombstones: HashSet<String>,
}

async fn known(engine: &Engine, strangers: &[Drift]) -> Result<Known, DbErr> {
    let named: Vec<Uuid> = strangers
        .iter()
        .filter_map(|drift| drift.copy.customer_id)
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
    let ids = strangers.iter().map(|drift| drift.copy.stripe_id.as_str());
    let unmatched: Vec<String> = unmatched::Entity::find()
        .select_only()
        .column(unmatched::Column::StripeId)
        .filter(unmatched::Column::StripeId.is_in(ids))
        .into_tuple()
        .all(&engine.db)
        .await?;
    Ok(Known {
        rows: rows.into_iter().collect(),
        unmatched: unmatched.into_iter().collect(),
        tombstones: tombstones(&engine.db, strangers).await?,
    })
}

/// The e-mails of strangers that deleted rows had.
async fn tombstones(
    db: &impl ConnectionTrait,
    strangers: &[Drift],
) -> Result<HashSet<String>, DbErr> {
    let emails: Vec<Email> = strangers.iter().filter_map(email).collect();
    let keys: Vec<&str> = emails.iter().map(Email::key).collect();
    let found = customer::find_deleted_email_keys(db, &keys).await?;
    Ok(found.into_iter().collect())
}

fn email(drift: &Drift) -> Option<Email> {
    Email::parse(drift.copy.fields.email.as_deref()?).ok()
}

/// Those that [`crate::downsync::unlinked`] would import, whatever the order: their e-mail is nobody else's among them.
/// Whether a row has it shows when they are inserted.
fn newcomers<'a>(strangers: &'a [Drift], known: &Known) -> Vec<Newcomer<'a>> {
    let mut holders: HashMap<String, u32> = HashMap::new();
    for email in strangers.iter().filter_map(email) {
        *holders.entry(email.key().to_owned()).or_default() += 1;
    }
    let newcomer = |drift: &'a Drift| {
        let email = email(drift)?;
        let copy = &drift.copy;
        let is_known = copy.customer_id.is_some_and(|id| known.rows.contains(&id))
            || known.unmatched.contains(&copy.stripe_id)
            || known.tombstones.contains(email.key());
        let is_alone = holders.get(email.key()) == Some(&1);
        let is_whole = !copy.deleted && !copy.unreadable && !copy.is_redacted();
        let is_new = is_whole && !copy.detached && !is_known && is_alone;
        is_new.then_some(Newcomer { drift, email })
    };
    strangers.iter().filter_map(newcomer).collect()
}
