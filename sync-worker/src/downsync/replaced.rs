//! Edits in Stripe that an update of ours replaced before they were read. The event of that update reports the value
//! that it replaced; where that is not the value that both sides had agreed on, the edit is kept as a conflict.

use chrono::{DateTime, Utc};
use entity::conflict::{self, Winner};
use entity::email::Email;
use entity::fields::{Field, Fields};
use entity::merge::{Clash, Owner, Owners};
use entity::message::StripeCopy;
use entity::sent_log::SentUpdate;
use entity::stamp::Stamp;
use entity::stripe_object::{Before, Replaced};
use entity::timeline::{self, Detail, Step};
use entity::{customer, stripe_event, stripe_link, write};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait};
use uuid::Uuid;

use crate::engine::Engine;
use crate::observe::store::email_is_taken;
use crate::review;

/// An edit, and the stamp of the update that replaced it.
pub(super) struct ReplacedEdit {
    clash: Clash,
    by: Stamp,
}

/// The edits that the update of this event replaced unread. Pure.
pub(super) fn replaced_edits(
    event: &stripe_event::Model,
    link: &stripe_link::Model,
    owners: &Owners,
) -> Vec<ReplacedEdit> {
    let Some((shown, replaced)) = read(event) else {
        return Vec::new();
    };
    // Stamps beside another row's id are another row's.
    if shown.customer_id != Some(link.customer_id) {
        return Vec::new();
    }
    let edit = |(field, before): (Field, &Before)| {
        let stamp = shown.stamps.get(field)?;
        let update = link.sent_log.as_ref()?.find(field, stamp)?;
        let clash = Clash {
            field,
            base: update.replaces(field).map(str::to_owned),
            database: shown.fields.get(field).map(str::to_owned),
            stripe: before.value.clone(),
            winner: owners.of(field),
        };
        (!is_expected(link, field, update, before)).then(|| ReplacedEdit {
            clash,
            by: stamp.clone(),
        })
    };
    replaced.iter().filter_map(edit).collect()
}

fn read(event: &stripe_event::Model) -> Option<(StripeCopy, Replaced)> {
    let replaced = serde_json::from_value(event.replaced.clone()?).ok()?;
    let shown = serde_json::from_value(event.copy.clone()?).ok()?;
    Some((shown, replaced))
}

/// Whether it replaced what it was to replace, or another write of ours that was not acknowledged when it was sent:
/// one of the two landed late.
fn is_expected(
    link: &stripe_link::Model,
    field: Field,
    update: &SentUpdate,
    before: &Before,
) -> bool {
    if before.value.as_deref() == update.replaces(field) {
        return true;
    }
    let Some(stamp) = &before.stamp else {
        return false;
    };
    let known = update.known(field);
    let mut held = Fields::default();
    held.set(field, before.value.clone());
    // Where Stripe held the known stamp, somebody has restored the value that it stands for.
    let is_ours = known != Some(stamp)
        && (link.wrote(field, stamp)
            || link.pushed.as_ref().and_then(|pushed| pushed.get(field)) == Some(stamp)
            || known.is_some_and(|known| stamp.rev < known.rev));
    is_ours && stamp.fits(field, &held)
}

/// Keeps the edits that the update of this event replaced, once however often the event arrives.
///
/// # Errors
/// The database is away, or another row took the e-mail meanwhile.
pub(super) async fn record(
    engine: &Engine,
    event: &stripe_event::Model,
    customer_id: Uuid,
) -> Result<(), write::Error> {
    let tx = engine.begin().await?;
    let link = stripe_link::lock(&tx, customer_id).await?;
    let link = link.filter(|link| link.stripe_id.as_ref() == Some(&event.stripe_id));
    let row = customer::lock(&tx, customer_id).await?;
    if let (Some(link), Some(row)) = (link, row.filter(|row| !row.is_deleted())) {
        let edits = replaced_edits(event, &link, &engine.policy.owners);
        let now = engine.now(&tx).await?;
        keep(&tx, &row, edits, now).await?;
    }
    engine.steps.reach_commit("replaced: commit").await;
    tx.commit().await?;
    Ok(())
}

async fn keep(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    edits: Vec<ReplacedEdit>,
    now: DateTime<Utc>,
) -> Result<(), write::Error> {
    let mut fields = row.fields();
    let mut kept = Vec::new();
    for edit in edits {
        let ReplacedEdit { clash, by } = &edit;
        if fields.get(clash.field) == clash.stripe.as_deref() {
            // It was read before, or made here as well.
            continue;
        }
        let winner = winner(tx, row, clash).await?;
        if !insert(tx, row, (clash, winner, by), now).await? {
            continue;
        }
        metrics::counter!("replaced_edits_total").increment(1);
        kept.push(clash.field.into());
        if winner == Winner::Stripe {
            fields.set(clash.field, clash.stripe.clone());
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    let detail = Detail {
        kind: Some("edited".to_owned()),
        result: Some("replaced".to_owned()),
        fields: kept,
        ..Detail::default()
    };
    timeline::note(tx, (row.id, Some(row.rev)), Step::Drift, detail, now).await?;
    if let Some(Ok(email)) = fields.email.as_deref().map(Email::parse) {
        // A change like any other: it has to reach Stripe again.
        write::update(tx, row, (&email, &fields), now, None).await?;
    }
    Ok(())
}

/// Our value has replaced the other one already; so it stands unless the field's owner says otherwise. What was made of
/// the field since is newer than both.
async fn winner(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    edit: &Clash,
) -> Result<Winner, DbErr> {
    let fields = row.fields();
    if fields.get(edit.field) != edit.database.as_deref() {
        return Ok(Winner::Database);
    }
    Ok(match edit.winner {
        Owner::Database => Winner::Database,
        Owner::Manual => Winner::Open,
        Owner::Stripe if is_usable(tx, row.id, edit).await? => Winner::Stripe,
        Owner::Stripe => Winner::Database,
    })
}

/// Whether the row can have the value.
async fn is_usable(
    tx: &DatabaseTransaction,
    customer_id: Uuid,
    edit: &Clash,
) -> Result<bool, DbErr> {
    if edit.field != Field::Email {
        return Ok(true);
    }
    let mut theirs = Fields::default();
    theirs.email.clone_from(&edit.stripe);
    let is_email = theirs
        .email
        .as_deref()
        .is_some_and(|text| Email::parse(text).is_ok());
    Ok(is_email && !email_is_taken(tx, customer_id, &theirs).await?)
}

/// Returns false if it was recorded before.
async fn insert(
    tx: &DatabaseTransaction,
    row: &customer::Model,
    (edit, winner, by): (&Clash, Winner, &Stamp),
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let record = conflict::ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(row.id),
        rev: Set(Some(row.rev)),
        field: Set(edit.field.as_str().to_owned()),
        base: Set(edit.base.clone()),
        database_value: Set(edit.database.clone()),
        stripe_value: Set(edit.stripe.clone()),
        winner: Set(winner),
        created_at: Set(now),
        resolved_at: Set((winner != Winner::Open).then_some(now)),
        replaced_by: Set(Some(by.to_string())),
        ..Default::default()
    };
    let update = [
        conflict::Column::CustomerId,
        conflict::Column::Field,
        conflict::Column::ReplacedBy,
    ];
    let once = OnConflict::columns(update)
        .target_and_where(Expr::col(conflict::Column::ReplacedBy).is_not_null())
        .do_nothing()
        .to_owned();
    let inserted = conflict::Entity::insert(record)
        .on_conflict(once)
        .exec_without_returning(tx)
        .await?;
    if inserted > 0 {
        review::conflict(row.id, edit.field.as_str(), winner);
    }
    Ok(inserted > 0)
}
