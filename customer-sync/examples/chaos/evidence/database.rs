//! What our database holds.

use std::collections::{HashMap, HashSet};

use entity::{conflict, customer, installation, stripe_link, unmatched};
use platform::database::Database;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::{Conflict, Row};
use crate::history::State;
use crate::load::Subjects;

/// Every row, tombstones included.
pub(crate) async fn rows(db: &Database) -> anyhow::Result<Vec<Row>> {
    let links = stripe_link::Entity::find().all(db).await?;
    let mut links: HashMap<_, _> = links
        .into_iter()
        .map(|link| (link.customer_id, link))
        .collect();
    let rows = customer::Entity::find().all(db).await?;
    let rows = rows.into_iter().map(|row| {
        let link = links.remove(&row.id);
        Row {
            parked: link
                .as_ref()
                .is_some_and(|link| link.parked_reason.is_some()),
            stripe_id: link.and_then(|link| link.stripe_id),
            state: state(&row),
        }
    });
    Ok(rows.collect())
}

pub(crate) async fn conflicts(db: &Database) -> anyhow::Result<Vec<Conflict>> {
    let found = conflict::Entity::find().all(db).await?;
    let conflicts = found.into_iter().map(|found| Conflict {
        customer: found.customer_id,
        field: found.field,
        stripe_value: found.stripe_value,
    });
    Ok(conflicts.collect())
}

pub(crate) async fn unmatched(db: &Database) -> anyhow::Result<HashSet<String>> {
    let found = unmatched::Entity::find().all(db).await?;
    Ok(found.into_iter().map(|entry| entry.stripe_id).collect())
}

/// The source of the events that are published.
pub(crate) async fn source(db: &Database) -> anyhow::Result<Option<Uuid>> {
    let found = installation::Entity::find().one(db).await?;
    Ok(found.map(|found| found.source))
}

/// Tells the load which customers Stripe has by now, those included that people have made there.
pub(crate) async fn show(
    db: &Database,
    subjects: &Subjects,
    since: &mut Option<DateTimeUtc>,
) -> anyhow::Result<()> {
    let mut links = stripe_link::Entity::find().filter(stripe_link::Column::StripeId.is_not_null());
    if let Some(since) = *since {
        links = links.filter(stripe_link::Column::UpdatedAt.gt(since));
    }
    let links = links.all(db).await?;
    *since = links.iter().map(|link| link.updated_at).max().max(*since);
    let ids: Vec<_> = links.iter().map(|link| link.customer_id).collect();
    let rows = customer::Entity::find().filter(customer::Column::Id.is_in(ids));
    let rows = rows.all(db).await?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
    for link in links {
        let row = rows.remove(&link.customer_id);
        let row = row.filter(|row| !row.is_deleted());
        if let (Some(stripe_id), Some(row)) = (link.stripe_id, row) {
            subjects.saw(&state(&row));
            subjects.is_in_stripe(row.id, stripe_id);
        }
    }
    Ok(())
}

fn state(row: &customer::Model) -> State {
    State {
        id: row.id,
        rev: row.rev,
        deleted: row.is_deleted(),
        fields: row.fields(),
    }
}
