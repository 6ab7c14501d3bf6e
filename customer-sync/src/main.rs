//! All of customer-sync in one process: `customer-sync`, with nothing to install and nothing to set.

use std::process::ExitCode;

use clap::Parser;

mod arguments;
mod bar;
mod greeting;
mod run;
mod state;

use arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    platform::process::exit(match arguments.command {
        None => run::run(arguments).await,
        Some(Command::Healthcheck) => platform::admin::healthcheck(&arguments.api.api_listen).await,
    })
}
