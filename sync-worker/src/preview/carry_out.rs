//! Does what an item says, and nothing if it says anything else by now.

use anyhow::Context;
use entity::message::Drift;
use entity::{stripe_link, write};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{DbErr, IntoActiveModel};
use uuid::Uuid;

use super::item::{Item, Step};
use super::look::{Looked, Outcome, Subject, look, look_in};
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
    let Some(drift) = as_it_is(engine, item).await? else {
        return Ok(false);
    };
    let subject = Subject {
        drift: drift.as_ref(),
        customer_id: item.customer_id,
    };
    let seen = look(engine, subject).await;
    if let Err(write::Error::EmailTaken) = seen {
        return Ok(false);
    }
    Ok(seen.context("looking what becomes of a customer")?.as_ref() == Some(item))
}

/// Does it: what comes from Stripe under both locks, in one transaction that is committed only if it is what the item
/// says; then one push.
///
/// # Errors
/// Something is away. What was begun is written down, and the worker goes on from there.
pub async fn carry_out(engine: &Engine, item: &Item) -> anyhow::Result<Done> {
    let Some(drift) = as_it_is(engine, item).await? else {
        return Ok(Done::Stale);
    };
    let subject = Subject {
        drift: drift.as_ref(),
        customer_id: item.customer_id,
    };
    engine.steps.reach("item: read").await;
    let outcome = match within_bounds(take_home(engine, subject, item)).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => return Ok(Done::Stale),
        Err(error) if is_taken(&error) => return Ok(Done::Stale),
        Err(error) => return Err(error).context("bringing a customer home"),
    };
    engine.steps.reach("item: home").await;
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

/// None if it is no longer what the item says; nothing was stored then.
async fn take_home(
    engine: &Engine,
    subject: Subject<'_>,
    item: &Item,
) -> Result<Option<Outcome>, write::Error> {
    let tx = engine.begin().await?;
    let looked = look_in(engine, &tx, subject).await;
    let outcome = match looked {
        Ok(Looked::Is(outcome)) if outcome.item.as_ref() == Some(item) => outcome,
        Ok(_) => {
            tx.rollback().await?;
            return Ok(None);
        }
        Err(error) => {
            tx.rollback().await?;
            return Err(error);
        }
    };
    if outcome.is_home {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(Some(outcome))
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
