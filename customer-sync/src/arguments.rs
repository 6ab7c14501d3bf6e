//! The settings of the all-in-one process: those of its services, and where it keeps its data.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use platform::config::{BrokerArgs, LogArgs, Secret, secret};

use crate::command::{apply, export, import, plan};

use crate::command::webhook::Webhook;

#[derive(Parser)]
#[command(
    about = "Keeps the customers of a database and of Stripe in step",
    long_about = "Keeps the customers of a database and of Stripe in step.\n\n\
        Without any setting it runs on SQLite, with a broker inside the process and a Stripe sandbox. \
        DATABASE_URL, AMQP_URL and STRIPE_SECRET_KEY replace each of them.",
    version
)]
pub(crate) struct Arguments {
    /// Where the database and the sandbox keep their files
    #[arg(long, env = "DATA_DIR", default_value = "./data", value_name = "PATH")]
    pub(crate) data_dir: PathBuf,
    /// The database, as postgres://user:password@host/name or sqlite:path; absent: SQLite under DATA_DIR
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<Secret>,
    /// A file that holds the database's URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// How many database connections this process may hold
    #[arg(
        long,
        env = "DATABASE_CONNECTIONS",
        default_value_t = 24,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000),
    )]
    pub(crate) database_connections: u32,
    #[command(flatten)]
    pub(crate) api: api::Config,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) relay: outbox_relay::Options,
    #[command(flatten)]
    pub(crate) worker: sync_worker::Config,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Ask the process that listens on API_LISTEN whether it is alive.
    Healthcheck,
    /// Print what would be done now on either side, and write nothing.
    ///
    /// Exit code 0: nothing; 2: something differs; 1: an error. On SQLite no other customer-sync may be running.
    Plan(plan::Options),
    /// Do exactly what a plan says; all of it is refused if any of it is stale.
    ///
    /// Exit code 0: all of it was done; 2: some items were not, and are named; 1: an error. What is refused in the
    /// plan, or waits, is left alone.
    Apply(apply::Options),
    /// Take customers from a file: those of a new e-mail are created, the others updated.
    ///
    /// A csv file begins with a line of names; a jsonl file has an object in each line. Encoding and separator are found by
    /// the file's start. Columns of other programs are named by --preset or --map. email is needed and tells who it is.
    /// name, phone and description are taken where they are given: an empty one (csv) or null (jsonl) is cleared, an
    /// absent one left as it is. id, stripe_id, rev and updated_at, as `export` writes them, are accepted and ignored.
    ///
    /// Every line is taken or refused for itself, and a refused one is named by its number. Running it again is safe.
    /// Exit code 0: all were taken; 2: some were refused; 1: it stopped, and says up to which line all is committed.
    Import(import::Options),
    /// Write all customers that are not deleted, as `import` reads them.
    ///
    /// While others write, each page of 1,000 is of a moment of its own. Exit code 0, or 1: an error; FILE is then as it
    /// was.
    Export(export::Options),
    /// The endpoint in Stripe that sends its events to /stripe/webhook.
    #[command(subcommand)]
    Webhook(Webhook),
}

impl Arguments {
    /// Whether PostgreSQL or RabbitMQ is configured.
    pub(crate) fn has_servers(&self) -> anyhow::Result<bool> {
        let database = self.database_url()?;
        let is_postgres = database.is_some_and(|url| url.expose().starts_with("postgres"));
        Ok(is_postgres || self.broker.url()?.is_some())
    }

    /// The database's URL, where one is named; else it is SQLite under DATA_DIR.
    pub(crate) fn database_url(&self) -> anyhow::Result<Option<Secret>> {
        secret(&self.database_url, &self.database_url_file, "DATABASE_URL")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_settings_of_all_services_fit_together() {
        Arguments::command().debug_assert();
    }
}
