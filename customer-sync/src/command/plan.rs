//! `customer-sync plan`: prints what a pass and the pushes would do now, and writes nothing.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use sync_worker::preview;

use super::Ended;
use super::file::Output;
use super::open;
use crate::arguments::Arguments;

pub(crate) use document::Document;

mod document;
mod text;

/// What to print, and where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print the plan as JSON, in an order that does not change
    #[arg(long)]
    json: bool,
    /// Write the plan as JSON to this file, for `apply`; it is about people, and only its owner may read it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) async fn run(mut arguments: Arguments, options: Options) -> anyhow::Result<Ended> {
    platform::telemetry::init(&arguments.log)?;
    let worker = open::worker(&mut arguments).await?;
    let document = Document::of(preview::read(&worker.engine).await?);
    if let Some(path) = &options.output {
        let mut file = Output::create(Some(path))?;
        document
            .write(&mut file)
            .with_context(|| format!("writing the plan to {}", path.display()))?;
        file.finish()?;
    }
    let mut stdout = std::io::stdout().lock();
    let printed = if options.json {
        document.write(&mut stdout)
    } else {
        stdout.write_all(text::of(&document).as_bytes())
    };
    printed
        .and_then(|()| stdout.flush())
        .context("printing the plan")?;
    Ok(Ended::with_rest(!document.items.is_empty()))
}
