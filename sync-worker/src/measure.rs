//! What the worker shows in /metrics. Counters are counted where things happen; what waits, and for how long, is
//! looked up here from time to time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use entity::{conflict, customer, stripe_event, stripe_link, unmatched};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use platform::backoff::jitter;
use platform::database::within_bounds;
use platform::health::Component;
use platform::panic::caught;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QuerySelect,
};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

const REST: Duration = Duration::from_secs(15);
/// To count who is on the way, every customer is looked at; at most this part of the time goes into that, so that not
/// one change in a hundred has to wait for it.
const SHARE: u32 = 200;

const COUNTERS: &[(&str, &str)] = &[
    ("upsync_pushes_total", "Pushes by what they came to"),
    (
        "upsync_failures_total",
        "Pushes that Stripe did not take, by what is done about it",
    ),
    (
        "upsync_lost_messages_total",
        "Changes whose messages were lost in the broker",
    ),
    (
        "upsync_calls_saved_total",
        "Changes that reached Stripe without a call of their own",
    ),
    (
        "upsync_lane_stops_total",
        "How often the pushes were stopped as a whole, by why",
    ),
    (
        "downsync_drifts_total",
        "Differences in Stripe that were sent home",
    ),
    ("downsync_applied_total", "Drifts by what became of them"),
    (
        "replaced_edits_total",
        "Edits in Stripe that an update replaced before they were read, kept as conflicts",
    ),
    (
        "poison_given_up_total",
        "Items given up because their handling ends the process",
    ),
    (
        "stripe_requests_total",
        "Requests to Stripe by operation and status",
    ),
    (
        "stripe_unreadable_customers_total",
        "Customers in Stripe's lists that could not be read",
    ),
    ("panics_total", "Panics that were caught"),
    (
        "stripe_mismatched_responses_total",
        "Responses of Stripe that do not match their request, by operation",
    ),
    (
        "stripe_reads_total",
        "Reads of Stripe, which its monthly allowance counts, by kind",
    ),
    (
        "stripe_limited_total",
        "Requests that Stripe refused as too many, by its reason",
    ),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    (
        "upsync_lane_stopped",
        Unit::Count,
        "1 while the pushes stand still, by why",
    ),
    (
        "stripe_rate",
        Unit::CountPerSecond,
        "Requests to Stripe that are let through now",
    ),
    (
        "stripe_read_budget",
        Unit::Count,
        "STRIPE_READ_BUDGET: reads of Stripe that a month may cost",
    ),
    (
        "stripe_reads_month",
        Unit::Count,
        "Reads of Stripe this month, of all workers",
    ),
    (
        "stripe_reads_projected",
        Unit::Count,
        "What they will have come to at the end of the month with the present settings",
    ),
    (
        "events_poll_interval_seconds",
        Unit::Seconds,
        "How often Stripe's events are polled at present",
    ),
    (
        "workers_live",
        Unit::Count,
        "Workers that share STRIPE_RATE",
    ),
    (
        "parked_customers",
        Unit::Count,
        "Customers that wait for a person, by reason",
    ),
    (
        "conflicts_open",
        Unit::Count,
        "Fields that wait for a person's decision",
    ),
    (
        "unmatched_customers",
        Unit::Count,
        "Stripe's customers that have no row, by reason",
    ),
    (
        "inbox_backlog_events",
        Unit::Count,
        "Stripe's events that were not worked off yet",
    ),
    (
        "unsynced_customers",
        Unit::Count,
        "Customers on their way to Stripe, parked ones left out",
    ),
    (
        "unsynced_oldest_age_seconds",
        Unit::Seconds,
        "Since when the oldest of them waits",
    ),
];

/// Says what each metric of the worker means, and its unit.
pub fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(*name, Unit::Count, *text);
    }
    for (name, unit, text) in GAUGES {
        describe_gauge!(*name, *unit, *text);
    }
    let text = "How long Stripe took to answer, by operation";
    describe_histogram!("stripe_request_duration_seconds", Unit::Seconds, text);
}

/// Looks from time to time until it is told to stop.
pub async fn run(engine: Engine, health: Component, stop: CancellationToken) -> anyhow::Result<()> {
    let mut measure = Measure::default();
    // Whoever starts has better things to do first.
    let mut count_at = Instant::now() + REST;
    while !stop.is_cancelled() {
        let mut measured = caught(within_bounds(measure.run_once(&engine))).await;
        let started = Instant::now();
        if started >= count_at && measured.is_ok() {
            measured = caught(within_bounds(count_unsynced(&engine))).await;
            count_at = Instant::now() + SHARE * started.elapsed();
        }
        match measured {
            Ok(()) => health.ok(),
            Err(error) => health.problem(format!("counting what waits: {error}")),
        }
        let _ = tokio::time::timeout(jitter(REST), stop.cancelled()).await;
    }
    Ok(())
}

/// Remembers the labels it has shown, so that what is gone is shown as none.
#[derive(Default)]
pub struct Measure {
    parked: BTreeMap<String, i64>,
    unmatched: BTreeMap<String, i64>,
}

impl Measure {
    /// Looks once at what waits for a person or for the inbox.
    pub async fn run_once(&mut self, engine: &Engine) -> Result<(), DbErr> {
        let db = &engine.db;
        show_lane(engine);
        let parked = stripe_link::Entity::find()
            .select_only()
            .column(stripe_link::Column::ParkedReason)
            .column_as(stripe_link::Column::CustomerId.count(), "count")
            .filter(stripe_link::Column::ParkedAt.is_not_null())
            .group_by(stripe_link::Column::ParkedReason)
            .into_tuple::<(Option<String>, i64)>()
            .all(db)
            .await?;
        let parked = parked
            .into_iter()
            .filter_map(|(reason, count)| Some((reason?, count)));
        show("parked_customers", &mut self.parked, parked);
        let unmatched = unmatched::Entity::find()
            .select_only()
            .column(unmatched::Column::Reason)
            .column_as(unmatched::Column::StripeId.count(), "count")
            .group_by(unmatched::Column::Reason)
            .into_tuple::<(String, i64)>()
            .all(db)
            .await?;
        show("unmatched_customers", &mut self.unmatched, unmatched);
        let conflicts = conflict::Entity::find()
            .filter(conflict::Column::ResolvedAt.is_null())
            .count(db)
            .await?;
        gauge!("conflicts_open").set(conflicts as f64);
        let inbox = stripe_event::Entity::find()
            .filter(stripe_event::Column::ProcessedAt.is_null())
            .count(db)
            .await?;
        gauge!("inbox_backlog_events").set(inbox as f64);
        Ok(())
    }
}

/// Looks once at who is on the way to Stripe.
pub async fn count_unsynced(engine: &Engine) -> Result<(), DbErr> {
    let (count, oldest) = unsynced(engine).await?;
    let now = engine.now(&engine.db).await?;
    // A row's time is its writer's clock, which may be ahead.
    let age = oldest.map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
    gauge!("unsynced_customers").set(count as f64);
    gauge!("unsynced_oldest_age_seconds").set(age);
    Ok(())
}

fn show_lane(engine: &Engine) {
    let stopped = engine.lane.why_stopped();
    for why in ["setting", "away", "refused"] {
        let is_so = stopped == Some(why);
        gauge!("upsync_lane_stopped", "why" => why).set(f64::from(u8::from(is_so)));
    }
    gauge!("stripe_rate").set(engine.stripe.rate());
}

/// One gauge a label; those that were there and are not any more are zero.
fn show(
    name: &'static str,
    known: &mut BTreeMap<String, i64>,
    found: impl IntoIterator<Item = (String, i64)>,
) {
    known.values_mut().for_each(|count| *count = 0);
    known.extend(found);
    for (reason, count) in known {
        gauge!(name, "reason" => reason.clone()).set(*count as f64);
    }
}

/// How many customers wait to be pushed, and since when the oldest does. Parked ones wait for a person.
async fn unsynced(engine: &Engine) -> Result<(i64, Option<DateTime<Utc>>), DbErr> {
    let link = customer::Entity::belongs_to(stripe_link::Entity)
        .from(customer::Column::Id)
        .to(stripe_link::Column::CustomerId);
    let rev = Expr::col((customer::Entity, customer::Column::Rev));
    let synced_rev = Expr::col((stripe_link::Entity, stripe_link::Column::SyncedRev));
    let waits = Condition::any()
        .add(stripe_link::Column::CustomerId.is_null())
        .add(rev.gt(synced_rev));
    let found = customer::Entity::find()
        .select_only()
        .column_as(customer::Column::Id.count(), "count")
        .column_as(customer::Column::UpdatedAt.min(), "oldest")
        .join(JoinType::LeftJoin, link.into())
        .filter(waits)
        .filter(stripe_link::Column::ParkedReason.is_null())
        .into_tuple()
        .one(&engine.db)
        .await?;
    Ok(found.unwrap_or_default())
}
