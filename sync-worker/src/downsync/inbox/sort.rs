//! Which events of the inbox tell nothing new, and which customers have to be read again.

use std::collections::{BTreeMap, HashMap, HashSet};

use entity::message::StripeCopy;
use entity::{customer, stripe_event, stripe_link};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::downsync::diff::is_drift;
use crate::downsync::replaced::replaced_edits;
use crate::engine::Engine;

/// A customer that has to be read again, and its events.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) stripe_id: String,
    pub(super) events: Vec<stripe_event::Model>,
    pub(super) link: Option<stripe_link::Model>,
}

/// The ids of the events that tell nothing new, and the customers of the others.
pub(super) struct Sorted {
    /// Those of updates of ours that replaced an edit unread, and the row.
    pub(super) replaced: Vec<(stripe_event::Model, Uuid)>,
    pub(super) settled: Vec<String>,
    pub(super) open: Vec<Open>,
}

pub(super) async fn sort(
    engine: &Engine,
    by_customer: BTreeMap<String, Vec<stripe_event::Model>>,
) -> Result<Sorted, DbErr> {
    let stripe_ids: Vec<&str> = by_customer.keys().map(String::as_str).collect();
    let links = stripe_link::Entity::find()
        .filter(stripe_link::Column::StripeId.is_in(stripe_ids))
        .all(&engine.db)
        .await?;
    let mut links: HashMap<String, stripe_link::Model> = links
        .into_iter()
        .filter_map(|link| Some((link.stripe_id.clone()?, link)))
        .collect();
    let mut settled = Vec::new();
    let mut open = Vec::new();
    let mut replaced = Vec::new();
    for (stripe_id, events) in by_customer {
        let link = links.remove(&stripe_id);
        if let Some(link) = &link {
            let events = events.iter().filter(|event| event.replaced.is_some());
            let has_edits = |event: &&stripe_event::Model| {
                !replaced_edits(event, link, &engine.policy.owners).is_empty()
            };
            replaced.extend(
                events
                    .filter(has_edits)
                    .map(|one| (one.clone(), link.customer_id)),
            );
        }
        if link
            .as_ref()
            .is_some_and(|link| all_are_echoes(&events, link))
        {
            settled.extend(ids(events));
        } else {
            open.push(Open {
                stripe_id,
                events,
                link,
            });
        }
    }
    let gone = deleted_on_both_sides(engine, &open).await?;
    let (gone, open) = open.into_iter().partition(|open: &Open| {
        open.link
            .as_ref()
            .is_some_and(|link| gone.contains(&link.customer_id))
    });
    let gone: Vec<Open> = gone;
    settled.extend(gone.into_iter().flat_map(|open| ids(open.events)));
    Ok(Sorted {
        replaced,
        settled,
        open,
    })
}

/// Of these the customers of which both sides know that they were deleted: nothing revives a tombstone.
async fn deleted_on_both_sides(engine: &Engine, open: &[Open]) -> Result<HashSet<Uuid>, DbErr> {
    let links = open.iter().filter_map(|open| open.link.as_ref());
    let synced: HashMap<Uuid, i64> = links
        .map(|link| (link.customer_id, link.synced_rev))
        .collect();
    if synced.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = customer::Entity::find()
        .filter(customer::Column::Id.is_in(synced.keys().copied()))
        .filter(customer::Column::DeletedAt.is_not_null())
        .all(&engine.db)
        .await?;
    let known = rows
        .iter()
        .filter(|row| synced.get(&row.id).is_some_and(|rev| row.rev <= *rev));
    Ok(known.map(|row| row.id).collect())
}

pub(super) fn ids(events: impl IntoIterator<Item = stripe_event::Model>) -> Vec<String> {
    events.into_iter().map(|event| event.id).collect()
}

/// Whether every event shows the customer as both sides agree that it is. An edit that came later has
/// an event of its own, so nothing is missed by not reading.
fn all_are_echoes(events: &[stripe_event::Model], link: &stripe_link::Model) -> bool {
    events.iter().all(|event| {
        let shown = event
            .copy
            .clone()
            .and_then(|copy| serde_json::from_value::<StripeCopy>(copy).ok());
        event.kind != "customer.deleted"
            && shown.is_some_and(|copy| !is_drift(&copy, Some(link.into())))
    })
}
