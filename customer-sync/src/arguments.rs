//! The settings of the all-in-one process: those of its services, and where it keeps its data.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use platform::config::{BrokerArgs, LogArgs, Secret};

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
    /// The endpoint in Stripe that sends its events to /stripe/webhook.
    #[command(subcommand)]
    Webhook(Webhook),
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
