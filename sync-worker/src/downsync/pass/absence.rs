//! Customers that a complete pass did not see. Absence proves nothing: lists omit customers of a test
//! clock, and all of them with another account's key. Only `deleted: true`, customer by customer, does.

use chrono::{DateTime, Utc};
use entity::message::Drift;
use entity::parked::Reason;
use entity::timeline::{self, Detail, Step};
use entity::{customer, stripe_link};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, IntoActiveModel, JoinType, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use crate::downsync::fence::counts;
use crate::downsync::inbox::{is_of_one_customer, read_again};
use crate::downsync::publish::Drifts;
use crate::downsync::state;
use crate::engine::Engine;
use crate::observe::parked_at;
use crate::review;

const BATCH: usize = 1_000;

/// How many deletions one refused pass proves and shows. The next one goes on behind them.
pub(crate) const HELD_AT_ONCE: usize = 1_000;

/// A person has to look before any of the deletions is believed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// Whom a complete pass did not see.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    /// Of those whose time of creation is known.
    pub(super) stripe_ids: Vec<String>,
    pub(super) nobody_was_seen: bool,
}

/// Proves the deletions among the customers that were not seen, and sends them home if they are few
/// enough to be believed. Returns how many there were.
///
/// # Errors
/// Too many at once, or an empty list: the whole set is refused. Whose deletion is proven is parked, and a person has
/// to look.
pub(super) async fn bring_home(
    engine: &Engine,
    drifts: &mut Drifts,
    missing: Missing,
    pass_started_at: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let found = absent(engine, &missing, pass_started_at).await?;
    let cap = engine.policy.delete_cap;
    let is_empty = missing.nobody_was_seen && found.linked > 1;
    let is_refused = |deleted: usize| {
        let count = (found.held.len() + deleted) as u64;
        is_empty || cap.is_exceeded(count, found.linked)
    };
    let mut deleted = Vec::new();
    for stripe_id in found.absent {
        let read = match read_again(engine, &stripe_id).await {
            // What cannot be read is not known to be gone.
            Err(error) if is_of_one_customer(&error) => {
                tracing::warn!(stripe.id = %stripe_id, error = format!("{error:#}"), "looking for a missing customer");
                continue;
            }
            read => read?,
        };
        match read {
            Some(drift) if drift.copy.deleted => deleted.push(drift),
            // A list without anybody in it is wrong, or says no more than the one that was asked.
            _ if is_empty => break,
            _ => {}
        }
        if is_refused(deleted.len()) && deleted.len() >= HELD_AT_ONCE {
            break;
        }
    }
    if is_refused(deleted.len()) {
        for drift in &deleted {
            hold(engine, drift).await?;
        }
        return refuse(
            engine,
            why(
                engine,
                (is_empty, found.linked),
                found.held.len() + deleted.len(),
            ),
        )
        .await;
    }
    for stripe_id in found.held {
        let drift = read_again(engine, &stripe_id).await?;
        deleted.extend(drift.filter(|drift| drift.copy.deleted));
    }
    let now = engine.now(&engine.db).await?;
    drifts.send(&deleted, now).await?;
    Ok(deleted.len() as u64)
}

/// What a person is told.
fn why(engine: &Engine, (is_empty, linked): (bool, u64), count: usize) -> String {
    let cap = engine.policy.delete_cap;
    if is_empty {
        format!(
            "Stripe lists no customer at all, and {linked} are linked: nothing is deleted; \
             check STRIPE_SECRET_KEY and STRIPE_API_BASE"
        )
    } else {
        format!(
            "Stripe says that {count} or more of {linked} linked customers are deleted: none is deleted here until a \
             person accepts it (/api/v1/refused-deletions); if so many are usual, raise MAX_DELETES ({}) and \
             MAX_DELETE_PERCENT ({})",
            cap.count, cap.percent
        )
    }
}

/// Parks a customer whose deletion is proven and refused, so that a person can see and decide it. Nothing else about it
/// changes, and a copy that shows it alive ends it.
async fn hold(engine: &Engine, drift: &Drift) -> anyhow::Result<()> {
    let tx = engine.begin().await?;
    let now = engine.now(&tx).await?;
    let Some(found) = stripe_link::find_by_stripe_id(&tx, &drift.copy.stripe_id).await? else {
        return Ok(());
    };
    let Some(link) = stripe_link::lock(&tx, found.customer_id).await? else {
        return Ok(());
    };
    let row = customer::lock(&tx, link.customer_id).await?;
    // An edit that waits will find the deletion by itself, and is parked for it.
    let row = row.filter(|row| !row.is_deleted() && row.rev <= link.synced_rev);
    if let Some(row) = row.filter(|_| counts(&link, drift.read_at, now)) {
        let mut held = link.into_active_model();
        let parked = parked_at(Reason::DeletionRefused, row.rev, &drift.copy);
        review::park(&mut held, row.id, parked, now);
        held.store(&tx, now).await?;
        let detail = Detail {
            result: Some("parked".to_owned()),
            reason: Some(Reason::DeletionRefused.as_str().to_owned()),
            ..Detail::default()
        };
        timeline::note(&tx, (row.id, Some(row.rev)), Step::Apply, detail, now).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The living customers that are linked, and whom of them the pass should have seen and did not.
struct Absent {
    linked: u64,
    absent: Vec<String>,
    /// Whose deletion is proven and was refused before.
    held: Vec<String>,
}

async fn absent(
    engine: &Engine,
    missing: &Missing,
    pass_started_at: DateTime<Utc>,
) -> anyhow::Result<Absent> {
    let mut links = Vec::new();
    for stripe_ids in missing.stripe_ids.chunks(BATCH) {
        let some = linked().filter(stripe_link::Column::StripeId.is_in(stripe_ids));
        links.extend(within_bounds(some.all(&engine.db)).await?);
    }
    links.extend(of_unknown_age(engine).await?);
    links.sort_by_key(|link| link.customer_id);
    let mut found = Absent {
        linked: 0,
        absent: Vec::new(),
        held: Vec::new(),
    };
    if !links.is_empty() || missing.nobody_was_seen {
        found.linked = within_bounds(linked().count(&engine.db)).await?;
    }
    // A link from a time that is still to come was stored before the clock was set back. Looking costs a read.
    let now = engine.now(&engine.db).await?;
    for link in links {
        let linked_at = link.acked_at.unwrap_or(link.created_at);
        let was_there = linked_at < pass_started_at || linked_at > now;
        let is_held = link.parked() == Some(Reason::DeletionRefused);
        let Some(stripe_id) = link.stripe_id.filter(|_| was_there) else {
            continue;
        };
        match (is_held, link.parked_dismissed_at) {
            (true, None) => found.held.push(stripe_id),
            // A person has seen it, and leaves it as it is.
            (true, Some(_)) => {}
            (false, _) => found.absent.push(stripe_id),
        }
    }
    Ok(found)
}

/// Of these customers of Stripe's, those that a living row is linked to and that nobody knows to be deleted.
pub(super) async fn living(engine: &Engine, stripe_ids: &[String]) -> Result<Vec<String>, DbErr> {
    let living = linked()
        .select_only()
        .column(stripe_link::Column::StripeId)
        .filter(stripe_link::Column::StripeId.is_in(stripe_ids))
        .into_tuple()
        .all(&engine.db);
    within_bounds(living).await
}

/// The linked customers that the pass would have told the age of, had it seen them.
async fn of_unknown_age(engine: &Engine) -> Result<Vec<stripe_link::Model>, DbErr> {
    let mut found = Vec::new();
    let mut after = Uuid::nil();
    loop {
        let links = linked()
            .filter(stripe_link::Column::StripeCreated.is_null())
            .filter(stripe_link::Column::CustomerId.gt(after))
            .order_by_asc(stripe_link::Column::CustomerId)
            .limit(BATCH as u64)
            .all(&engine.db);
        let links = within_bounds(links).await?;
        let Some(last) = links.last() else {
            return Ok(found);
        };
        after = last.customer_id;
        found.extend(links);
    }
}

fn linked() -> Select<stripe_link::Entity> {
    let customer = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let parked_reason = stripe_link::Column::ParkedReason;
    let not_known_to_be_deleted = Condition::any()
        .add(parked_reason.is_null())
        .add(parked_reason.ne(Reason::DeletedInStripe.as_str()));
    stripe_link::Entity::find()
        .join_rev(JoinType::InnerJoin, customer.into())
        .filter(stripe_link::Column::StripeId.is_not_null())
        .filter(stripe_link::Column::DetachedAt.is_null())
        .filter(not_known_to_be_deleted)
        .filter(customer::Column::DeletedAt.is_null())
}

async fn refuse(engine: &Engine, text: String) -> anyhow::Result<u64> {
    let now = engine.now(&engine.db).await?;
    state::store(&engine.db, now, |state| {
        state.refused = Set(Some(text.clone()));
        // The next pass looks at all of them again.
        state.pass_progress = Set(None);
    })
    .await?;
    Err(Refused(text).into())
}
