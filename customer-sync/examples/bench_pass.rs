//! What a first import and a full pass cost, beside what they cannot do without: reading the same pages, and
//! inserting the same rows. Against a throwaway PostgreSQL, as the tests use it.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use entity::message::{EXCHANGE, QUEUES};
use entity::timeline::{self, Detail, Step};
use entity::{customer, stripe_link};
use futures_util::future::try_join_all;
use platform::broker::{Broker, Topology};
use platform::clock::Clock;
use platform::config::Secret;
use platform::database;
use platform::steps::Steps;
use platform::test_support::{self, TestDatabase};
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use sync_worker::downsync::pass;
use sync_worker::downsync::publish::Drifts;
use sync_worker::engine::Engine;
use sync_worker::policy::Policy;
use sync_worker::stripe::{Lane, ListPage, Options, Stripe};
use sync_worker::{Gauge, LaneState};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const START: i64 = 1_700_000_000;
/// Customers of the sandbox that were made in one second.
const PER_SECOND: usize = 10;
const SIDE_BY_SIDE: usize = 8;

#[derive(Parser)]
struct Arguments {
    /// Customers in Stripe
    #[arg(long)]
    customers: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Be a sandbox with so many customers; prints where it is
    Sandbox,
    /// Measure against a sandbox; TEST_DATABASE_URL names a PostgreSQL server
    Measure { sandbox: String },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.what {
        What::Sandbox => serve(arguments.customers).await,
        What::Measure { sandbox } => measure(arguments.customers, sandbox).await,
    }
}

fn say(what: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{what}").context("printing")
}

async fn serve(customers: usize) -> anyhow::Result<()> {
    let start = chrono::DateTime::from_timestamp(START, 0).context("a time")?;
    let options = stripe_sandbox::Options {
        clock: stripe_sandbox::Clock::manual(start),
        ..stripe_sandbox::Options::default()
    };
    let running = stripe_sandbox::start(options).await?;
    for place in 0..customers {
        let email = format!("{place}@example.com");
        let name = format!("Customer {place}");
        running
            .sandbox
            .load(&[("email", &email), ("name", &name)])
            .context("filling the sandbox")?;
        if place % PER_SECOND == PER_SECOND - 1 {
            running
                .sandbox
                .options()
                .clock
                .advance(Duration::from_secs(1));
        }
    }
    say(&json!({ "sandbox": running.url }))?;
    tokio::signal::ctrl_c().await?;
    running.stop().await
}

async fn measure(customers: usize, sandbox: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let pages = walk(&stripe(sandbox)?, customers).await?;
    say(&told(
        "bare walk",
        customers,
        began,
        json!({ "pages": pages }),
    ))?;

    let bare = test_support::postgres().await;
    let began = Instant::now();
    insert(&bare, customers).await?;
    say(&told("bare insert", customers, began, json!({})))?;

    let database = test_support::postgres().await;
    let engine = engine(&database, sandbox)?;
    let topology = Topology {
        exchange: EXCHANGE,
        queues: &QUEUES,
    };
    let mut drifts = Drifts::new(Broker::in_process(&topology));
    for what in ["first import", "pass over what is in step"] {
        let began = Instant::now();
        let stop = CancellationToken::new();
        let counts = pass::run_once(&engine, &mut drifts, &stop).await?;
        let more = json!({ "counts": counts, "peak_kib": peak_kib() });
        say(&told(what, customers, began, more))?;
    }
    Ok(())
}

fn told(what: &str, customers: usize, began: Instant, more: Value) -> Value {
    let seconds = began.elapsed().as_secs_f64();
    let rate = customers as f64 / seconds;
    json!({
        "what": what,
        "seconds": seconds,
        "customers_per_second": rate,
        "cpu_seconds_so_far": cpu_seconds(),
        "more": more,
    })
}

/// The processor time that the process has used, which other processes do not disturb as much.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the program's name, which may hold anything, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: Option<u64> = ticks.map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(ticks? as f64 / 100.0)
}

/// The most memory that the process has had.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// With a rate that holds nothing up.
fn stripe(sandbox: &str) -> anyhow::Result<Stripe> {
    let mut options = Options::new(Secret::new("sk_test_bench"), sandbox);
    options.rate = 1_000_000.0;
    options.burst = 1_000;
    Stripe::new(options)
}

fn engine(database: &TestDatabase, sandbox: &str) -> anyhow::Result<Engine> {
    Ok(Engine {
        db: database.connection.clone(),
        clock: Clock::system(),
        stripe: stripe(sandbox)?,
        policy: Policy {
            slices_at_once: SIDE_BY_SIDE,
            ..Policy::default()
        },
        lane: LaneState::default(),
        steps: Steps::default(),
        gauge: Gauge::default(),
    })
}

/// Reads all pages and does nothing with them.
async fn walk(stripe: &Stripe, customers: usize) -> anyhow::Result<usize> {
    let seconds = i64::try_from(customers.div_ceil(PER_SECOND * SIDE_BY_SIDE))?;
    let slice = async |place: i64| {
        let mut request = ListPage {
            created_gte: Some(START + place * seconds),
            created_lte: Some(START + (place + 1) * seconds - 1),
            ..ListPage::default()
        };
        for pages in 1.. {
            let page = stripe.list(Lane::Downsync, &request).await?.value;
            if !page.has_more {
                return Ok(pages);
            }
            request.starting_after = page.cursor;
        }
        unreachable!("a list ends")
    };
    let slices = (0..i64::try_from(SIDE_BY_SIDE)?).map(slice);
    let pages: anyhow::Result<Vec<usize>> = try_join_all(slices).await;
    Ok(pages?.into_iter().sum())
}

/// Inserts the rows that a first import makes, a hundred in a transaction.
async fn insert(database: &TestDatabase, customers: usize) -> anyhow::Result<()> {
    let batches = customers.div_ceil(100);
    let some = async |first: usize| {
        for batch in (first..batches).step_by(SIDE_BY_SIDE) {
            let places = batch * 100..customers.min((batch + 1) * 100);
            insert_batch(database, places).await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..SIDE_BY_SIDE).map(some)).await?;
    Ok(())
}

async fn insert_batch(
    database: &TestDatabase,
    places: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let now = chrono::Utc::now();
    let row = |place: usize| customer::Model {
        id: Uuid::now_v7(),
        email: format!("{place}@example.com"),
        email_key: format!("{place}@example.com"),
        name: Some(format!("Customer {place}")),
        phone: None,
        description: None,
        rev: 1,
        deleted_at: None,
        created_at: now,
        updated_at: now,
    };
    let rows: Vec<customer::Model> = places.map(row).collect();
    let link = |row: &customer::Model| stripe_link::ActiveModel {
        stripe_id: Set(Some(format!("cus_{}", row.id.simple()))),
        stripe_created: Set(Some(START)),
        base: Set(Some(row.fields())),
        synced_rev: Set(1),
        observed_at: Set(Some(now)),
        ..stripe_link::fresh(row.id, now)
    };
    let links: Vec<stripe_link::ActiveModel> = rows.iter().map(link).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let tx = database::begin(&database.connection).await?;
    let rows = rows
        .into_iter()
        .map(|row| row.into_active_model().reset_all());
    customer::Entity::insert_many(rows)
        .exec_without_returning(&tx)
        .await?;
    stripe_link::Entity::insert_many(links)
        .exec_without_returning(&tx)
        .await?;
    let detail = Detail {
        result: Some("imported".to_owned()),
        ..Detail::default()
    };
    timeline::note_all(&tx, (ids, Some(1)), Step::Apply, detail, now).await?;
    tx.commit().await?;
    Ok(())
}
