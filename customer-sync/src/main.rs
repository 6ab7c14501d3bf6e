//! All of customer-sync in one process: `customer-sync`, with nothing to install and nothing to set.

use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod command;
mod greeting;
mod run;
mod state;

use arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    let ended = match arguments.command.take() {
        None => run::run(arguments).await,
        Some(Command::Healthcheck) => platform::admin::healthcheck(&arguments.api.api_listen).await,
        Some(Command::Webhook(webhook)) => {
            return command::webhook::run(webhook, &arguments.worker).await;
        }
    };
    platform::process::exit(ended)
}
