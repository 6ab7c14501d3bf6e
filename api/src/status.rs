//! How it goes as a whole: /api/v1/status. Read from what the services have written; it needs the database alone.

use chrono::{DateTime, Utc};
use entity::stripe_event::{self, Source};
use entity::stripe_read::{self, Kind, Settings};
use entity::{downsync_state, outbox};
use platform::database::Database;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde::Serialize;

use crate::auth::Caller;
use crate::customers::{Customers, Json, Tag};
use crate::database::patiently;
use crate::problem::{self, Documented, Refusal};
use crate::services::Services;

mod reads;
mod services;
mod waiting;

use reads::Reads;
use services::ServicesState;
use waiting::Waiting;

#[derive(Clone)]
pub(crate) struct Overview(pub(crate) Customers);

/// How it goes.
#[derive(Object, Serialize)]
#[oai(example)]
struct Status {
    /// Changes on their way to the broker.
    outbox: Backlog,
    /// Stripe's events that were not worked off yet.
    inbox: Backlog,
    events: Events,
    full_pass: FullPass,
    attention: Waiting,
    reads: Reads,
    services: ServicesState,
}

/// What waits, and since when.
#[derive(Object, Serialize)]
#[oai(example)]
struct Backlog {
    count: i64,
    /// Of the oldest; null if none waits.
    #[oai(nullable)]
    oldest_age_seconds: Option<f64>,
}

/// How Stripe's events come.
#[derive(Object, Serialize)]
#[oai(example)]
struct Events {
    /// The time of Stripe's up to which all events are known; null before the first poll.
    #[oai(nullable)]
    cursor: Option<DateTime<Utc>>,
    /// When they were last polled this month; up to a minute late.
    #[oai(nullable)]
    last_poll_at: Option<DateTime<Utc>>,
    /// When a webhook last brought one that was new.
    #[oai(nullable)]
    last_webhook_at: Option<DateTime<Utc>>,
    /// How often they are polled at present: seldom while webhooks bring them.
    #[oai(nullable)]
    poll_interval_seconds: Option<f64>,
}

/// The last complete comparison of every customer.
#[derive(Object, Serialize)]
#[oai(example)]
struct FullPass {
    #[oai(nullable)]
    completed_at: Option<DateTime<Utc>>,
    /// How often there is one.
    #[oai(nullable)]
    interval_seconds: Option<f64>,
    /// Pages of Stripe's list.
    #[oai(nullable)]
    pages: Option<i64>,
    /// Customers that Stripe listed.
    #[oai(nullable)]
    customers: Option<i64>,
    /// Those that differed.
    #[oai(nullable)]
    drifts: Option<i64>,
    /// Deletions that it brought home.
    #[oai(nullable)]
    deletions: Option<i64>,
    /// Why its deletions were refused; null if they were not.
    #[oai(nullable)]
    refused: Option<String>,
}

#[derive(ApiResponse)]
enum Shown {
    /// How it goes at this moment.
    #[oai(status = 200)]
    Status(Json<Status>),
}

#[OpenApi(prefix_path = "/api/v1/status", tag = "Tag::Status")]
impl Overview {
    /// See how it goes
    ///
    /// What is on its way, how far Stripe's events and the last full pass have come, what waits for a person, what the
    /// reads of Stripe cost this month, and which relays and workers are alive.
    #[oai(path = "/", method = "get", operation_id = "readStatus")]
    async fn read(&self, _caller: Caller) -> Result<Shown, Refusal<Reading>> {
        let status = patiently(|| self.look()).await?;
        Ok(Shown::Status(Json::of(&status)))
    }
}

impl Overview {
    async fn look(&self) -> Result<Status, DbErr> {
        let db = &self.0.db;
        let now = platform::database::now(db, &self.0.clock).await?;
        let state = downsync_state::Entity::find_by_id(downsync_state::ID)
            .one(db)
            .await?;
        let month = stripe_read::of_month(db, now).await?;
        let settings = state.as_ref().map(Settings::of).unwrap_or_default();
        let polled = month.iter().find(|row| row.kind == Kind::Events.as_str());
        let (waiting, oldest) = outbox::backlog(db).await?;
        Ok(Status {
            outbox: Backlog::of(waiting, oldest, now),
            inbox: inbox(db, now).await?,
            events: Events {
                cursor: state
                    .as_ref()
                    .and_then(|state| DateTime::from_timestamp(state.events_cursor?, 0)),
                last_poll_at: polled.map(|row| row.last_at),
                last_webhook_at: last_webhook(db).await?,
                poll_interval_seconds: settings.poll_interval.map(|one| one.as_secs_f64()),
            },
            full_pass: FullPass::of(state.as_ref(), &settings),
            attention: Waiting::of(db).await?,
            reads: Reads::of(&month, &settings, now),
            services: ServicesState::of(&Services::read(db, &self.0.clock).await?),
        })
    }
}

impl Backlog {
    fn of(count: u64, oldest: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        Self {
            count: number(count),
            // A row's time is its writer's clock, which may be ahead.
            oldest_age_seconds: oldest.map(|oldest| (now - oldest).as_seconds_f64().max(0.0)),
        }
    }
}

impl FullPass {
    fn of(state: Option<&downsync_state::Model>, settings: &Settings) -> Self {
        let counts = state.and_then(|state| state.pass_counts.as_ref());
        let count = |name| counts?.get(name)?.as_i64();
        Self {
            completed_at: state.and_then(|state| state.pass_completed_at),
            interval_seconds: settings.full_pass_interval.map(|one| one.as_secs_f64()),
            pages: count("pages"),
            customers: count("customers"),
            drifts: count("drifts"),
            deletions: count("deletions"),
            refused: state.and_then(|state| state.refused.clone()),
        }
    }
}

async fn inbox(db: &Database, now: DateTime<Utc>) -> Result<Backlog, DbErr> {
    let open = || stripe_event::Entity::find().filter(stripe_event::Column::ProcessedAt.is_null());
    let count = open().count(db).await?;
    let oldest = open()
        .select_only()
        .column(stripe_event::Column::ReceivedAt)
        .order_by_asc(stripe_event::Column::ReceivedAt)
        .limit(1)
        .into_tuple()
        .one(db)
        .await?;
    Ok(Backlog::of(count, oldest, now))
}

async fn last_webhook(db: &impl ConnectionTrait) -> Result<Option<DateTime<Utc>>, DbErr> {
    stripe_event::Entity::find()
        .select_only()
        .column(stripe_event::Column::ReceivedAt)
        .filter(stripe_event::Column::Source.eq(Source::Webhook.as_str()))
        .order_by_desc(stripe_event::Column::ReceivedAt)
        .limit(1)
        .into_tuple()
        .one(db)
        .await
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

struct Reading;
impl Documented for Reading {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[];
}

fn some_time() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1_795_000_000)
}

impl Example for Status {
    fn example() -> Self {
        Self {
            outbox: Backlog::example(),
            inbox: Backlog {
                count: 0,
                oldest_age_seconds: None,
            },
            events: Events::example(),
            full_pass: FullPass::example(),
            attention: Waiting::example(),
            reads: Reads::example(),
            services: ServicesState::example(),
        }
    }
}

impl Example for Backlog {
    fn example() -> Self {
        Self {
            count: 3,
            oldest_age_seconds: Some(0.25),
        }
    }
}

impl Example for Events {
    fn example() -> Self {
        Self {
            cursor: Some(some_time()),
            last_poll_at: Some(some_time()),
            last_webhook_at: Some(some_time()),
            poll_interval_seconds: Some(600.0),
        }
    }
}

impl Example for FullPass {
    fn example() -> Self {
        Self {
            completed_at: Some(some_time()),
            interval_seconds: Some(3600.0),
            pages: Some(120),
            customers: Some(11_950),
            drifts: Some(2),
            deletions: Some(0),
            refused: None,
        }
    }
}
