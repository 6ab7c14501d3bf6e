//! What scripts/bench downsync measures with: a walker and an inserter that do no more than has to be done, people
//! who edit customers in Stripe, and the sandbox's counts. None of it is the worker's code.

use anyhow::Context;
use clap::{Parser, Subcommand};
use platform::config::Secret;
use reqwest::{Client, redirect};
use tokio::sync::mpsc;
use tokio::time::Instant;

use edits::Edits;
use insert::Insert;
use walk::Plan;

mod edits;
mod insert;
mod sandbox;
mod walk;

/// Pages that wait to be taken, at most.
const PAGES_AHEAD: usize = 32;

/// Measures one thing and prints its figures on one line.
#[derive(Parser)]
struct Arguments {
    /// Where the sandbox is, as http://127.0.0.1:12111
    #[arg(long)]
    stripe: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Reads every customer and keeps none. Prints customers, requests and seconds
    Walk(Plan),
    /// Copies every customer into an empty database. Prints customers a second
    Insert(Insert),
    /// Edits customers in Stripe. Prints milliseconds from an edit to its row, at p50, at p99 and at the
    /// most, and milliseconds from the first edit to the last row
    Edits(Edits),
    /// Has the sandbox send its webhooks to a URL. Prints the secret that signs them
    Register { url: String },
    /// Prints how often a route was asked for, as in "GET /v1/customers"; of all routes without one
    Count { route: Option<String> },
    /// Has the sandbox forget its record of requests, for `pages` to begin at
    Forget,
    /// Prints how many pages of customers were asked for since then, of the latest 200,000 requests
    Pages,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The client wants one even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .context("building the client")?;
    let stripe = sandbox::Sandbox {
        client,
        url: arguments.stripe,
    };
    let result = match arguments.what {
        What::Walk(plan) => walk_only(stripe, plan).await?,
        What::Insert(insert) => insert.run(stripe).await?,
        What::Edits(edits) => edits.run(stripe).await?,
        What::Register { url } => stripe.register(&url).await?,
        What::Count { route } => stripe.count(route.as_deref()).await?.to_string(),
        What::Forget => stripe.forget().await?,
        What::Pages => stripe.pages().await?.to_string(),
    };
    say(&result);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "scripts/bench reads the result there")]
fn say(result: &str) {
    println!("{result}");
}

async fn walk_only(stripe: sandbox::Sandbox, plan: Plan) -> anyhow::Result<String> {
    let begun = Instant::now();
    let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
    let walking = walk::walk(stripe, plan, sender);
    let counting = async {
        let mut customers = 0;
        while let Some(page) = pages.recv().await {
            customers += page.len();
        }
        customers
    };
    let (requests, customers) = tokio::join!(walking, counting);
    let seconds = begun.elapsed().as_secs_f64();
    Ok(format!("{customers} {} {seconds:.3}", requests?))
}

/// A connection of its own.
async fn open(url: &Secret) -> anyhow::Result<sea_orm::sqlx::PgConnection> {
    use sea_orm::sqlx::Connection;
    sea_orm::sqlx::PgConnection::connect(url.expose())
        .await
        .context("connecting to the database")
}
