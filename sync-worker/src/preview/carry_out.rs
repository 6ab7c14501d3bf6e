//! Does what an item says, and nothing if it says anything else by now.

use anyhow::Context;
use entity::message::Drift;
use entity::{stripe_link, write};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{DbErr, IntoActiveModel};
use uuid::Uuid;

use super::item::{Item, Step};
use super::look::{Looked, Outcome, Subject, look, look_in, rows_of};
use super::see;
use crate::downsync::apply::is_taken;
use crate::downsync::inbox::read_again;
use crate::engine::Engine;
use crate::stripe::{Lane, ListPage};
use crate::upsync::Pushed;
use crate::upsync::begin::{Begun, Push, Request, begin_knowing};
use crate::upsync::finish::finish;
use crate::upsync::plan::Plan;
use crate::upsync::send::send;

/// What came of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All of it.
    Done,
    /// It says something else by now: nothing.
    Stale,
    /// What came from Stripe is here; then somebody was quicker, and what was to be sent was not.
    HomeOnly,
    /// It was sent and Stripe did not take it. It is tried again by the worker.
    Later,
    /// It was sent and Stripe refused it, or a person has to look first.
    Parked,
}

/// Whether both sides are still as the item says. Writes nothing.
///
/// # Errors
/// Something is away.
pub async fn is_current(engine: &Engine, item: &Item) -> anyhow::Result<bool> {
    are_current(engine, std::slice::from_ref(item)).await
}

/// [`is_current`], of items that are done together.
///
/// # Errors
/// Something is away.
pub async fn are_current(engine: &Engine, items: &[Item]) -> anyhow::Result<bool> {
    let Some(read) = as_they_are(engine, items).await? else {
        return Ok(false);
    };
    let subjects: Vec<_> = read.iter().map(Read::subject).collect();
    let seen = look(engine, &subjects).await;
    if let Err(write::Error::EmailTaken) = seen {
        return Ok(false);
    }
    let seen = seen.context("looking what becomes of a customer")?;
    Ok(are_the_same(seen.iter().map(Option::as_ref), items))
}

/// Does it: what comes from Stripe under both locks, in one transaction that is committed only if it is what the item
/// says; then one push.
///
/// # Errors
/// Something is away. What was begun is written down, and the worker goes on from there.
pub async fn carry_out(engine: &Engine, item: &Item) -> anyhow::Result<Done> {
    let mut done = carry_out_together(engine, std::slice::from_ref(item)).await?;
    Ok(done.pop().unwrap_or(Done::Stale))
}

/// [`carry_out`], of items that are done together: what comes from Stripe for all of them or for none, then a push each.
///
/// # Errors
/// Something is away. What was begun is written down, and the worker goes on from there.
pub async fn carry_out_together(engine: &Engine, items: &[Item]) -> anyhow::Result<Vec<Done>> {
    let stale = || vec![Done::Stale; items.len()];
    let Some(read) = as_they_are(engine, items).await? else {
        return Ok(stale());
    };
    let subjects: Vec<_> = read.iter().map(Read::subject).collect();
    engine.steps.reach("item: read").await;
    let outcomes = match within_bounds(take_home(engine, &subjects, items)).await {
        Ok(Some(outcomes)) => outcomes,
        Ok(None) => return Ok(stale()),
        Err(error) if is_taken(&error) => return Ok(stale()),
        Err(error) => return Err(error).context("bringing a customer home"),
    };
    engine.steps.reach("item: home").await;
    let mut done = Vec::with_capacity(items.len());
    for (item, outcome) in items.iter().zip(outcomes) {
        done.push(send_out(engine, item, &outcome).await?);
    }
    Ok(done)
}

/// The push of an item, if it has one.
async fn send_out(engine: &Engine, item: &Item, outcome: &Outcome) -> anyhow::Result<Done> {
    let is_sent = |step: &Step| step.is_pushed() || *step == Step::Settle;
    let (Some(id), Some(rev)) = (item.customer_id, outcome.rev) else {
        return Ok(Done::Done);
    };
    if !item.steps.iter().any(is_sent) {
        return Ok(Done::Done);
    }
    let pushed = push(engine, item, (id, rev)).await;
    match pushed.context("sending a customer to Stripe")? {
        Some(Pushed::Done | Pushed::Again) => Ok(Done::Done),
        Some(Pushed::Later) => Ok(Done::Later),
        Some(Pushed::Parked) => Ok(Done::Parked),
        Some(Pushed::Superseded) | None if outcome.is_home => Ok(Done::HomeOnly),
        Some(Pushed::Superseded) | None => Ok(Done::Stale),
    }
}

/// Whether these are the items, in their order, but for what says that they are done together.
fn are_the_same<'a>(seen: impl Iterator<Item = Option<&'a Item>>, items: &[Item]) -> bool {
    let alone = |item: &Item| Item {
        together: None,
        ..item.clone()
    };
    seen.flatten().map(alone).eq(items.iter().map(alone))
}

/// What an item is about, as it is now.
struct Read {
    drift: Option<Drift>,
    customer_id: Option<Uuid>,
}

impl Read {
    fn subject(&self) -> Subject<'_> {
        Subject {
            drift: self.drift.as_ref(),
            customer_id: self.customer_id,
        }
    }
}

/// What the items are about; none if it is no longer so. A row that is to be linked to another Stripe customer comes
/// with the one that it is linked to now.
async fn as_they_are(engine: &Engine, items: &[Item]) -> anyhow::Result<Option<Vec<Read>>> {
    let (mut read, mut replaced) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        let Some(drift) = as_it_is(engine, item).await? else {
            return Ok(None);
        };
        // Of one that is to be reviewed, the row is another item's.
        let id = item.customer_id.filter(|_| item.was.rev.is_some());
        let link = match id {
            Some(id) => within_bounds(stripe_link::find(&engine.db, id)).await?,
            None => None,
        };
        let linked = link.and_then(|link| link.stripe_id);
        let other = linked.filter(|linked| item.stripe_id.as_ref() != Some(linked));
        let customer_id = id.filter(|_| other.is_none());
        read.push(Read { drift, customer_id });
        let is_item = |id: &String| items.iter().any(|item| item.stripe_id.as_ref() == Some(id));
        if let Some(other) = other.filter(|other| !is_item(other)) {
            let drift = read_again(engine, &other).await?;
            replaced.push(Read {
                drift,
                customer_id: id,
            });
        }
    }
    read.extend(replaced);
    Ok(Some(read))
}

/// Stripe's customer as it is now; none of all if it is another one than the item's.
async fn as_it_is(engine: &Engine, item: &Item) -> anyhow::Result<Option<Option<Drift>>> {
    let Some(stripe_id) = &item.stripe_id else {
        let is_there_by_now = has_free_one(engine, item).await?;
        return Ok((!is_there_by_now).then_some(None));
    };
    let drift = read_again(engine, stripe_id).await?;
    let copy = drift.as_ref().map(|drift| super::item::digest(&drift.copy));
    Ok((copy == item.was.copy).then_some(drift))
}

/// Whether Stripe has a customer by now that a create would find, and link.
async fn has_free_one(engine: &Engine, item: &Item) -> anyhow::Result<bool> {
    let request = ListPage {
        email: item.email.clone(),
        ..ListPage::default()
    };
    let read_at = engine.moment(&engine.db).await?;
    let page = engine.stripe.list(Lane::Downsync, &request).await;
    for copy in page
        .context("looking for a customer by its e-mail")?
        .value
        .items
    {
        let drift = Drift { copy, read_at };
        let subject = Subject {
            drift: Some(&drift),
            customer_id: None,
        };
        let seen = see(engine, subject).await?;
        let is_its_own = seen.is_some_and(|seen| seen.customer_id == item.customer_id);
        if is_its_own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An outcome for each item; none if it is no longer what they say, and then nothing was stored.
async fn take_home(
    engine: &Engine,
    subjects: &[Subject<'_>],
    items: &[Item],
) -> Result<Option<Vec<Outcome>>, write::Error> {
    let mut rows = rows_of(subjects);
    rows.extend(items.iter().filter_map(|item| item.customer_id));
    let tx = engine.begin().await?;
    let outcomes = match look_in(engine, &tx, subjects, &rows).await {
        Ok(Looked::Are(outcomes)) => outcomes,
        Ok(Looked::Rows(_)) => {
            tx.rollback().await?;
            return Ok(None);
        }
        Err(error) => {
            tx.rollback().await?;
            return Err(error);
        }
    };
    if !are_the_same(outcomes.iter().map(|one| one.item.as_ref()), items) {
        tx.rollback().await?;
        return Ok(None);
    }
    if outcomes.iter().any(|outcome| outcome.is_home) {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    let shown = outcomes.into_iter().filter(|one| one.item.is_some());
    Ok(Some(shown.collect()))
}

/// Makes the one push that the item says; none if the row asks for another one by now.
async fn push(
    engine: &Engine,
    item: &Item,
    (id, rev): (Uuid, i64),
) -> Result<Option<Pushed>, write::Error> {
    let push = match within_bounds(begin_knowing(engine, id, true)).await? {
        Begun::Push(push) => push,
        Begun::Nothing(Plan::Nothing | Plan::Settle) if item.steps.contains(&Step::Settle) => {
            return Ok(Some(Pushed::Done));
        }
        Begun::Nothing(_) => return Ok(None),
    };
    if push.rev != rev || !item.steps.iter().any(|step| is_for(step, &push)) {
        within_bounds(let_go(engine, &push)).await?;
        return Ok(None);
    }
    let sent = send(engine, &push).await?;
    let pushed = within_bounds(finish(engine, &push, sent)).await?;
    tracing::debug!(customer.id = %id, rev, ?pushed, "pushed an item of a plan");
    Ok(Some(pushed))
}

fn is_for(step: &Step, push: &Push) -> bool {
    match (step, &push.request) {
        (
            Step::Update { changes, .. } | Step::Rename { changes, .. },
            Request::Update { sent, .. },
        ) => {
            step.is_pushed()
                && changes
                    .iter()
                    .map(|change| change.field)
                    .eq(sent.iter().copied())
        }
        (Step::Mark, Request::Update { sent, .. }) => sent.is_empty(),
        (Step::Create { .. }, Request::Create { .. })
        | (Step::Delete { .. }, Request::Delete { .. })
        | (Step::Detach { .. }, Request::Detach { .. }) => step.is_pushed(),
        (Step::Delete { .. }, Request::Create { .. }) => step.is_pushed() && push.is_deleted,
        _ => false,
    }
}

/// Ends a push that nothing was sent for, so that the worker looks at once and does not wait for it to expire.
async fn let_go(engine: &Engine, push: &Push) -> Result<(), DbErr> {
    let tx = engine.begin().await?;
    let now = engine.now(&tx).await?;
    let link = stripe_link::lock(&tx, push.customer_id).await?;
    if let Some(link) = link.filter(|link| link.push_token == Some(push.token)) {
        let mut free = link.into_active_model();
        free.end_push();
        free.next_attempt_at = Set(Some(now));
        free.store(&tx, now).await?;
    }
    tx.commit().await
}
