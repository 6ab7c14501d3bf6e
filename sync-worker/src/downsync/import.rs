//! Makes rows of customers that only Stripe had, a page of them as readily as one. Both sides agree on them, so
//! nothing is pushed; other consumers get the rows as they get any other change, unless an operator wants no events
//! of a bulk import.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use entity::email::Email;
use entity::external_id::ExternalId;
use entity::message::{Drift, StripeCopy};
use entity::stripe_object::REDACTED;
use entity::timeline::{self, Detail, Step};
use entity::{customer, outbox, stripe_link};
use platform::telemetry;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{OnConflict, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait,
    IntoActiveModel, QueryFilter, QueryTrait,
};
use uuid::Uuid;

/// A customer of Stripe's and its e-mail as a row has it.
pub(super) struct Newcomer<'a> {
    pub(super) drift: &'a Drift,
    pub(super) email: Email,
}

/// Inserts rows and links of customers that no link names and whose e-mail no living row has; returns how many those
/// were. Where either is not so any more, nothing is made of that customer. In the order of their
/// e-mails, and at most a page of them. `is_published` is whether there are events of them.
pub(super) async fn insert(
    tx: &DatabaseTransaction,
    newcomers: &[Newcomer<'_>],
    is_published: bool,
    now: DateTime<Utc>,
) -> Result<HashSet<String>, DbErr> {
    let mut rows: Vec<_> = newcomers.iter().map(|new| new.row(now)).collect();
    keep_free_external_ids(tx, &mut rows).await?;
    let inserted = insert_rows(tx, &rows).await?;
    let wanted: Vec<_> = newcomers
        .iter()
        .zip(&rows)
        .filter(|(_, row)| inserted.contains(&row.id))
        .collect();
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let links = wanted.iter().map(|(new, row)| new.link(row, now)).collect();
    let linked = insert_links(tx, links).await?;
    // Somebody has linked the customer to another row meanwhile: ours was never to be.
    let unlinked: Vec<Uuid> = inserted.difference(&linked).copied().collect();
    if !unlinked.is_empty() {
        customer::Entity::delete_many()
            .filter(customer::Column::Id.is_in(unlinked))
            .exec(tx)
            .await?;
    }
    let mut imported = HashSet::with_capacity(linked.len());
    for (new, _) in wanted.iter().filter(|(_, row)| linked.contains(&row.id)) {
        imported.insert(new.drift.copy.stripe_id.clone());
    }
    if is_published && !imported.is_empty() {
        let rows = wanted.iter().map(|(_, row)| *row);
        let rows = rows.filter(|row| linked.contains(&row.id));
        outbox::enqueue_imported(tx, rows, &telemetry::traceparent()).await?;
    }
    let detail = Detail {
        result: Some("imported".to_owned()),
        ..Detail::default()
    };
    timeline::note_all(tx, (linked, Some(1)), Step::Apply, detail, now).await?;
    Ok(imported)
}

/// The id that an earlier row of the customer had, before the database was restored or replaced.
fn external_id(copy: &StripeCopy) -> Option<String> {
    let text = copy.external_id.as_deref().filter(|text| *text != REDACTED);
    ExternalId::parse(text?).ok()?.map(ExternalId::into_string)
}

/// Only the first living row has an `external_id`: metadata is copied with a customer, by whoever copies that.
async fn keep_free_external_ids(
    tx: &DatabaseTransaction,
    rows: &mut [customer::Model],
) -> Result<(), DbErr> {
    let wanted: Vec<_> = rows
        .iter()
        .filter_map(|row| row.external_id.clone())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let taken = customer::find_living_external_ids(tx, wanted).await?;
    let mut taken: HashSet<String> = taken.into_iter().collect();
    for row in rows {
        row.external_id = row.external_id.take().filter(|id| taken.insert(id.clone()));
    }
    Ok(())
}

impl Newcomer<'_> {
    fn row(&self, now: DateTime<Utc>) -> customer::Model {
        let fields = &self.drift.copy.fields;
        customer::Model {
            id: Uuid::now_v7(),
            email: self.email.as_given().to_owned(),
            email_key: self.email.key().to_owned(),
            name: fields.name.clone(),
            phone: fields.phone.clone(),
            description: fields.description.clone(),
            external_id: external_id(&self.drift.copy),
            rev: 1,
            change_xid: 0,
            deleted_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    fn link(&self, row: &customer::Model, now: DateTime<Utc>) -> stripe_link::ActiveModel {
        let Drift { copy, read_at } = self.drift;
        let mut link = stripe_link::ActiveModel {
            stripe_id: Set(Some(copy.stripe_id.clone())),
            stripe_created: Set(Some(copy.created)),
            base: Set(Some(row.fields())),
            external_id: Set(row.external_id.clone()),
            synced_rev: Set(row.rev),
            observed_at: Set(Some(read_at.at)),
            observed_order: Set(Some(read_at.order)),
            ..stripe_link::fresh(row.id, now)
        };
        link.set_fingerprint();
        link
    }
}

/// Who writes the same addresses at the same time waits for the other to end, and then has nothing to insert.
async fn insert_rows(
    tx: &DatabaseTransaction,
    rows: &[customer::Model],
) -> Result<HashSet<Uuid>, DbErr> {
    let rows = rows.iter().cloned();
    let rows = rows.map(|row| customer::ActiveModel {
        change_xid: NotSet,
        ..row.into_active_model().reset_all()
    });
    let mut insert = customer::Entity::insert_many(rows).into_query();
    insert
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .returning(Query::returning().column(customer::Column::Id));
    ids(tx.query_all(&insert).await?, "id")
}

async fn insert_links(
    tx: &DatabaseTransaction,
    links: Vec<stripe_link::ActiveModel>,
) -> Result<HashSet<Uuid>, DbErr> {
    let mut insert = stripe_link::Entity::insert_many(links).into_query();
    insert
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .returning(Query::returning().column(stripe_link::Column::CustomerId));
    ids(tx.query_all(&insert).await?, "customer_id")
}

fn ids(rows: Vec<sea_orm::QueryResult>, column: &str) -> Result<HashSet<Uuid>, DbErr> {
    rows.iter().map(|row| row.try_get("", column)).collect()
}
