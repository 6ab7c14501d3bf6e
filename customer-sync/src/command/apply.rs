//! `customer-sync apply PLAN`: does what a plan says, all of it or nothing if any of it is stale, and no more.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use sync_worker::downsync::account;
use sync_worker::engine::Engine;
use sync_worker::preview::{self, Done, Item, are_current, carry_out_together, in_groups};

use super::Ended;
use super::interrupt::Interrupt;
use super::open;
use super::plan::Document;
use crate::arguments::Arguments;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A file that `plan --output` wrote
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
}

pub(crate) async fn run(mut arguments: Arguments, options: Options) -> anyhow::Result<Ended> {
    platform::telemetry::init(&arguments.log)?;
    let plan = Document::read(&options.plan)?;
    let worker = open::worker(&mut arguments).await?;
    let engine = &worker.engine;
    let key = preview::key(engine).await?;
    ensure!(
        plan.key() == key,
        "the plan was made with a key of another Stripe account or mode; nothing was done"
    );
    ensure!(
        plan.policy == preview::policy_digest(&engine.policy),
        "the plan was made under other settings (ON_DATABASE_DELETE, ON_STRIPE_DELETE, FIELD_OWNER, LINK_BY_EMAIL, \
         MAX_DELETES, MAX_DELETE_PERCENT); nothing was done: plan again"
    );
    // Those that concern each other are done together, with what is not done of them.
    let is_done = |set: &Vec<Item>| set.iter().any(Item::is_done);
    let (sets, left): (Vec<_>, Vec<_>) = in_groups(plan.items).into_iter().partition(is_done);
    check(engine, &sets).await?;
    // As the worker does before it writes: from now on the database belongs to this account and mode.
    account::check_account(engine).await?;
    let in_sets = sets.iter().flatten();
    let count = in_sets.clone().filter(|item| item.is_done()).count();
    let mut summary = Summary {
        left: left.len() + in_sets.count() - count,
        ..Summary::default()
    };
    let ended = all(engine, &sets, &mut summary).await;
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", summary.text(count));
    ended?;
    Ok(Ended::with_rest(summary.done < count))
}

/// Refuses the whole plan if any item of it is stale.
async fn check(engine: &Engine, sets: &[Vec<Item>]) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for set in sets {
        if !are_current(engine, set).await? {
            stale.extend(set.iter().filter(|item| item.is_done()));
        }
    }
    let items = sets.iter().flatten().filter(|item| item.is_done());
    let Some(first) = stale.first() else {
        return Ok(());
    };
    bail!(
        "{} of {} items are stale, the first of them {}; nothing was done: plan again",
        stale.len(),
        items.count(),
        name(first)
    )
}

#[derive(Default)]
struct Summary {
    done: usize,
    /// Stale when their turn came, or not taken by Stripe.
    not_done: usize,
    /// Nothing that could be done without a person.
    left: usize,
}

impl Summary {
    fn text(&self, of: usize) -> String {
        let not_reached = of - self.done - self.not_done;
        format!(
            "{} of {of} items done, {} not done, {not_reached} not reached, {} left to a person or the worker.",
            self.done, self.not_done, self.left
        )
    }
}

async fn all(engine: &Engine, sets: &[Vec<Item>], summary: &mut Summary) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen();
    for set in sets {
        let Some(first) = set.iter().find(|item| item.is_done()) else {
            continue;
        };
        if interrupt.is_set() {
            bail!(
                "interrupted before {}; plan again for the rest",
                name(first)
            );
        }
        let done = carry_out_together(engine, set).await.with_context(|| {
            format!(
                "stopped at {}, of which a part may be done; plan again for the rest",
                name(first)
            )
        })?;
        for (item, done) in set.iter().zip(done).filter(|(item, _)| item.is_done()) {
            if let Some(why) = why_not(done) {
                summary.not_done += 1;
                let _ = writeln!(std::io::stderr(), "{}: {why}", name(item));
            } else {
                summary.done += 1;
            }
        }
    }
    Ok(())
}

fn why_not(done: Done) -> Option<&'static str> {
    match done {
        Done::Done => None,
        Done::Stale => Some("not done: it is no longer as the plan says"),
        Done::HomeOnly => Some(
            "what came from Stripe is done; the rest is no longer as the plan says, and was not sent",
        ),
        Done::Later => Some("Stripe did not take it now; the worker tries it again"),
        Done::Parked => Some("Stripe did not take it; a person has to look (/api/v1/parked)"),
    }
}

/// By ids: no address of a person is in an error.
fn name(item: &Item) -> String {
    let customer = item.customer_id.map(|id| format!("customer {id}"));
    let stripe = item.stripe_id.as_ref().map(|id| format!("Stripe's {id}"));
    let both: Vec<String> = customer.into_iter().chain(stripe).collect();
    both.join(", ")
}
