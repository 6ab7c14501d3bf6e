//! Looks again at the customers that are due: retries, and pushes whose process has died. Retries wait
//! here, in the database, and not in the broker, so that a slow customer holds up nobody.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use entity::stripe_link::{Column, Entity};
use entity::time::has_come;
use futures_util::{StreamExt, stream};
use platform::backoff::jitter;
use platform::database::within_bounds;
use platform::health::Component;
use platform::panic::caught;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::consume::CONCURRENCY;
use crate::downsync::account::{OtherIdentity, check_account};
use crate::engine::{Engine, LONGEST_REST};
use crate::lane::{Trouble, code, words};
use crate::outcome::{Action, Operation, action};
use crate::stripe::{Failure, Lane, ListPage};

const EVERY: Duration = Duration::from_secs(1);
const BATCH: u64 = 200;

/// Looks every second until it is told to stop.
pub async fn run(engine: Engine, health: Component, stop: CancellationToken) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        let found_all = match caught(run_once(&engine)).await {
            Ok(found) => {
                health.ok();
                found < BATCH
            }
            Err(error) => {
                health.problem(format!("looking for customers that are due: {error}"));
                true
            }
        };
        if found_all {
            let _ = tokio::time::timeout(jitter(EVERY), stop.cancelled()).await;
        }
    }
    Ok(())
}

/// Pushes every customer that is due; returns how many were looked at. Those whose push has died go last
/// and one by one: if it is one of them that ends the process, then it takes no other with it.
pub async fn run_once(engine: &Engine) -> Result<u64, DbErr> {
    let due = find(engine).await?;
    let found = due.len() as u64;
    let (suspects, others): (Vec<_>, Vec<_>) = due.into_iter().partition(Due::has_died);
    stream::iter(others)
        .for_each_concurrent(CONCURRENCY, |due| push(engine, due.customer_id))
        .await;
    for due in suspects {
        push(engine, due.customer_id).await;
    }
    Ok(found)
}

/// The customers that are due, unless the lane stands still.
pub async fn find(engine: &Engine) -> Result<Vec<Due>, DbErr> {
    // Before anything else, so that an empty answer proves that the database is there.
    let now = engine.now(&engine.db).await?;
    if engine.lane.stopped().is_some() && !probe(engine).await {
        return Ok(Vec::new());
    }
    let due = within_bounds(due(engine, now)).await?;
    if due.is_empty() && engine.lane.is_half_open() && !is_any_waiting(engine).await? {
        engine.lane.has_nothing_to_prove();
    }
    Ok(due)
}

/// Whether a customer waits for its next attempt.
async fn is_any_waiting(engine: &Engine) -> Result<bool, DbErr> {
    let waiting = Entity::find()
        .select_only()
        .column(Column::CustomerId)
        .filter(Column::NextAttemptAt.is_not_null())
        .limit(1)
        .into_tuple::<Uuid>()
        .one(&engine.db);
    Ok(within_bounds(waiting).await?.is_some())
}

async fn push(engine: &Engine, customer_id: Uuid) {
    // It may have stopped since; the rest stays due.
    if engine.lane.stopped().is_some() {
        return;
    }
    // One that panics counts as a push that died: it is repeated when it expires, and parked after some times.
    if let Err(error) = caught(super::push(engine, customer_id)).await {
        tracing::warn!(customer.id = %customer_id, %error, "pushing a customer that is due");
    }
}

/// Tries a stopped lane that has rested; resumes it if Stripe answers and takes the key.
async fn probe(engine: &Engine) -> bool {
    if !engine.lane.is_rested() {
        return false;
    }
    match try_key(engine).await {
        Ok(()) => {
            tracing::info!("Stripe accepts the key; pushes run");
            engine.lane.resume();
            true
        }
        Err(error) => {
            keep_stopped(engine, &error);
            false
        }
    }
}

/// Asks Stripe whose key it is, and for one customer: another account's customers are not ours to make.
async fn try_key(engine: &Engine) -> anyhow::Result<()> {
    check_account(engine).await?;
    let page = ListPage {
        limit: 1,
        ..ListPage::default()
    };
    let reply = engine.stripe.list(Lane::Upsync, &page).await;
    reply.context("asking Stripe for one customer")?;
    Ok(())
}

fn keep_stopped(engine: &Engine, error: &anyhow::Error) {
    if let Some(other) = error.downcast_ref::<OtherIdentity>() {
        return engine.lane.stop_for(other.code, format!("{error:#}"));
    }
    let Some(failure) = error.downcast_ref::<Failure>() else {
        return engine.lane.stop(format!("{error:#}"));
    };
    let action = action(Operation::Read, failure);
    match (Trouble::of(&action, failure), action) {
        (Some(Trouble::Away), _) => {
            let since = engine.clock.now();
            engine.lane.is_still_away(|| words::is_away(since, failure));
        }
        (_, Action::StopLane { reason }) => {
            let code = code::of_setting(reason);
            engine
                .lane
                .stop_for(code, words::lane_is_stopped(reason, failure));
        }
        (Some(Trouble::Mismatched), _) => {
            let reason = words::answers_others(failure);
            engine.lane.stop_for(code::RESPONSES_MISMATCHED, reason);
        }
        _ if failure.status == Some(404) && !engine.stripe.states_account() => {
            engine.lane.stop(format!(
                "STRIPE_API_BASE has no /v1/account ({failure}): set STRIPE_ACCOUNT=acct_... to state the account; \
                 pushes wait and go on by themselves"
            ));
        }
        _ => engine.lane.stop(format!(
            "Stripe does not say whose key STRIPE_SECRET_KEY is ({failure}); \
             pushes wait and go on by themselves"
        )),
    }
}

/// A customer that is due.
#[derive(FromQueryResult)]
pub struct Due {
    pub customer_id: Uuid,
    takeovers: i32,
    push_token: Option<Uuid>,
}

impl Due {
    fn has_died(&self) -> bool {
        self.takeovers > 0 || self.push_token.is_some()
    }
}

async fn due(engine: &Engine, now: DateTime<Utc>) -> Result<Vec<Due>, DbErr> {
    Entity::find()
        .select_only()
        .columns([Column::CustomerId, Column::Takeovers, Column::PushToken])
        .filter(has_come(Column::NextAttemptAt, now, LONGEST_REST))
        .order_by_asc(Column::NextAttemptAt)
        .limit(BATCH)
        .into_model()
        .all(&engine.db)
        .await
}

/// Ends the pushes of a process that is known to be dead, so that their customers are looked at now
/// and not when the pushes expire.
pub async fn forget_dead_pushes(engine: &Engine) -> Result<(), DbErr> {
    let now = engine.now(&engine.db).await?;
    Entity::update_many()
        .col_expr(Column::PushToken, Expr::value(Option::<Uuid>::None))
        .col_expr(Column::PushRev, Expr::value(Option::<i64>::None))
        .col_expr(
            Column::PushStartedAt,
            Expr::value(Option::<DateTime<Utc>>::None),
        )
        .col_expr(Column::Takeovers, Expr::col(Column::Takeovers).add(1))
        .col_expr(Column::NextAttemptAt, Expr::value(now))
        .filter(Column::PushToken.is_not_null())
        .exec(&engine.db)
        .await?;
    Ok(())
}
