//! All of customer-sync in one process: `customer-sync`, with nothing to install and nothing to set.

use std::process::ExitCode;

use platform::admin;
use platform::process::exit;
use sync_worker::config::MISTAKEN_NAMES;

mod arguments;
mod bar;
mod command;
mod greeting;
mod layout;
mod run;
mod state;

use arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = platform::settings::parse_with::<Arguments>(&MISTAKEN_NAMES);
    match arguments.command.take() {
        None => exit(run::run(arguments).await),
        Some(Command::Healthcheck) => exit(admin::healthcheck(&arguments.api.api_listen).await),
        Some(Command::Plan(options)) => command::exit(command::plan::run(arguments, options).await),
        Some(Command::Apply(options)) => {
            command::exit(command::apply::run(arguments, options).await)
        }
        Some(Command::Import(options)) => {
            command::exit(command::import::run(arguments, options).await)
        }
        Some(Command::Export(options)) => {
            command::exit(command::export::run(arguments, options).await)
        }
        Some(Command::Webhook(webhook)) => {
            command::exit(command::webhook::run(webhook, &arguments).await)
        }
    }
}
