//! People who edit customers in Stripe, and how long each edit takes to a committed row.
//!
//! The clock starts before the edit is sent to the sandbox's page and stops when another session hears of the
//! row: a trigger on the row notifies, and PostgreSQL sends a notification after the commit. One clock, this
//! process's, so nothing is compared across clocks; the edit's own request and the notification are in the figure.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use platform::config::Secret;
use sea_orm::sqlx::postgres::PgListener;
use sea_orm::sqlx::{self, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use uuid::Uuid;

use crate::open;
use crate::sandbox::Sandbox;

/// How long the last edit may take to its row.
const LIMIT: Duration = Duration::from_secs(120);

const LISTEN: [&str; 3] = [
    "CREATE OR REPLACE FUNCTION bench_heard() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN PERFORM pg_notify('bench', NEW.name); RETURN NULL; END $$",
    "DROP TRIGGER IF EXISTS bench_heard ON customer",
    "CREATE TRIGGER bench_heard AFTER UPDATE ON customer FOR EACH ROW \
     WHEN (NEW.name LIKE 'Edited %') EXECUTE FUNCTION bench_heard()",
];
const UNLISTEN: &str = "DROP TRIGGER bench_heard ON customer";

#[derive(Args)]
pub(crate) struct Edits {
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: Secret,
    /// How many, each of another customer
    #[arg(long)]
    count: usize,
    /// How many in a second; without it, one after the other
    #[arg(long)]
    rate: Option<f64>,
}

impl Edits {
    pub(crate) async fn run(self, stripe: Sandbox) -> anyhow::Result<String> {
        let mut connection = open(&self.database).await?;
        let ids = some_customers(&mut connection, self.count).await?;
        for statement in LISTEN {
            sqlx::query(statement).execute(&mut connection).await?;
        }
        let mut listener = PgListener::connect(self.database.expose()).await?;
        listener.listen("bench").await?;
        // Names that no earlier run has given: an edit that changes nothing would raise no event.
        let run = Uuid::now_v7();
        let names: Vec<String> = (0..ids.len())
            .map(|number| format!("Edited {number} {run}"))
            .collect();
        let edits = ids.into_iter().zip(names.iter().cloned()).collect();
        let (begun, heard) = tokio::join!(
            edit(stripe, edits, self.rate),
            hear(&mut listener, names.len())
        );
        let (begun, heard) = (begun?, heard?);
        sqlx::query(UNLISTEN).execute(&mut connection).await?;
        let mut taken = Vec::new();
        for (name, begun) in &begun {
            let heard = heard
                .get(name)
                .context("a row that nobody has edited came")?;
            taken.push(heard.duration_since(*begun));
        }
        taken.sort_unstable();
        let first = begun.values().min().context("nothing was edited")?;
        let last = heard.values().max().context("nothing was heard")?;
        let all = last.duration_since(*first);
        let at = |percent: usize| millis(taken[(taken.len() * percent / 100).min(taken.len() - 1)]);
        Ok(format!("{} {} {} {}", at(50), at(99), at(100), millis(all)))
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// Any customers that are in step.
async fn some_customers(
    connection: &mut PgConnection,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT stripe_id FROM stripe_link WHERE stripe_id IS NOT NULL ORDER BY random() LIMIT $1",
    )
    .bind(i64::try_from(count)?)
    .fetch_all(connection)
    .await?;
    ensure!(
        ids.len() == count && count > 0,
        "there are {} customers to edit",
        ids.len()
    );
    Ok(ids)
}

/// Renames each customer; returns when each edit began, by its name.
async fn edit(
    stripe: Sandbox,
    edits: Vec<(String, String)>,
    rate: Option<f64>,
) -> anyhow::Result<HashMap<String, Instant>> {
    let mut begun = HashMap::new();
    let Some(rate) = rate else {
        for (id, name) in edits {
            let now = Instant::now();
            stripe.rename(&id, &name).await?;
            begun.insert(name, now);
        }
        return Ok(begun);
    };
    let mut turns = interval(Duration::from_secs_f64(1.0 / rate));
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    for (id, name) in edits {
        turns.tick().await;
        begun.insert(name.clone(), Instant::now());
        let stripe = stripe.clone();
        under_way.spawn(async move { stripe.rename(&id, &name).await });
    }
    while let Some(edited) = under_way.join_next().await {
        edited??;
    }
    Ok(begun)
}

/// When each name was first heard, once so many were.
async fn hear(listener: &mut PgListener, count: usize) -> anyhow::Result<HashMap<String, Instant>> {
    let deadline = Instant::now() + LIMIT;
    let mut heard = HashMap::new();
    while heard.len() < count {
        let Ok(notification) = timeout_at(deadline, listener.recv()).await else {
            anyhow::bail!(
                "{} of {count} edits came home within {LIMIT:?}",
                heard.len()
            );
        };
        let name = notification?.payload().to_owned();
        heard.entry(name).or_insert_with(Instant::now);
    }
    Ok(heard)
}
