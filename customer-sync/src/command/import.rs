//! `customer-sync import`: customers from a file, line by line, through the same write as the API's.
//!
//! A thread reads and checks the lines; they are written some at a time. What is committed is never taken back, and
//! running it again changes nothing that is as the file says already.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use entity::email::Policy;
use platform::clock::Clock;
use platform::database::Database;
use tokio::sync::mpsc;

use super::Ended;
use super::format::Format;
use super::interrupt::Interrupt;
use super::open;
use crate::arguments::Arguments;

use batch::Taken;
use csv::Csv;
use lines::Lines;
use progress::Progress;
use record::{Line, Record};

mod batch;
mod csv;
mod jsonl;
mod lines;
mod progress;
mod record;

/// Lines in one transaction.
const BATCH: usize = 200;

/// Batches that are read ahead.
const AHEAD: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// A file that ends in .csv or .jsonl; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which of the two it is, where its name does not say so
    #[arg(long)]
    format: Option<Format>,
    /// Write every refused line's number and reason to this file; stderr has the first 20
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
}

/// Some lines, or why no more could be read.
type Read = anyhow::Result<Batch>;

struct Batch {
    lines: Vec<Line>,
    /// Bytes of the file that were read by now.
    offset: u64,
    has_ignored: bool,
}

pub(crate) async fn run(arguments: Arguments, options: Options) -> anyhow::Result<Ended> {
    platform::telemetry::init(&arguments.log)?;
    let is_stdin = options.file.as_os_str() == "-";
    let format = Format::of(&options.file, options.format)?;
    let input: Box<dyn BufRead + Send>;
    let mut size = None;
    if is_stdin {
        input = Box::new(BufReader::new(std::io::stdin()));
    } else {
        let path = options.file.display();
        let file = File::open(&options.file).with_context(|| format!("opening {path}"))?;
        size = file.metadata().ok().map(|file| file.len());
        input = Box::new(BufReader::new(file));
    }
    let opened = open::fillable(&arguments).await?;
    let mut progress = Progress::begin(size, options.errors.as_deref())?;
    let batches = read_ahead(input, format)?;
    let mut import = Import {
        db: &opened.db,
        clock: Clock::system(),
        policy: arguments.api.email_reject,
        upto: 0,
        has_ignored: false,
    };
    let ended = import.all(batches, &mut progress).await;
    let counts = progress.end()?;
    let mut summary = format!("{}.", counts.text());
    if import.has_ignored {
        summary.push_str(" id, stripe_id, rev and updated_at of a csv file are ignored.");
    }
    let _ = writeln!(std::io::stdout(), "{summary}");
    let upto = import.upto;
    ended.with_context(|| {
        format!(
            "stopped; all up to line {upto} is committed but for refused lines, and running it again is safe"
        )
    })?;
    Ok(Ended::with_rest(counts.refused > 0))
}

/// Reads in a thread of its own: stdin may say nothing for as long as it likes.
fn read_ahead(
    input: Box<dyn BufRead + Send>,
    format: Format,
) -> anyhow::Result<mpsc::Receiver<Read>> {
    let (sender, batches) = mpsc::channel(AHEAD);
    std::thread::Builder::new()
        .name("import".to_owned())
        .spawn(move || {
            if let Err(error) = read_all(Lines::new(input), format, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })
        .context("starting to read")?;
    Ok(batches)
}

fn read_all(
    mut lines: Lines<impl BufRead>,
    format: Format,
    to: &mpsc::Sender<Read>,
) -> anyhow::Result<()> {
    let csv = match format {
        Format::Csv => Some(Csv::begin(&mut lines)?),
        Format::Jsonl => None,
    };
    let has_ignored = csv.as_ref().is_some_and(Csv::has_ignored);
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let line = match &csv {
                Some(csv) => csv.next(&mut lines),
                None => jsonl::next(&mut lines),
            };
            match line.context("reading the file")? {
                Some(line) => batch.push(line),
                None => break,
            }
        }
        let is_last = batch.len() < BATCH;
        let batch = Batch {
            lines: batch,
            offset: lines.offset(),
            has_ignored,
        };
        // Nobody listens any more once the import has stopped.
        if to.blocking_send(Ok(batch)).is_err() || is_last {
            return Ok(());
        }
    }
}

struct Import<'a> {
    db: &'a Database,
    clock: Clock,
    policy: Policy,
    /// The last line behind which nothing is known to be committed.
    upto: u64,
    has_ignored: bool,
}

impl Import<'_> {
    async fn all(
        &mut self,
        mut batches: mpsc::Receiver<Read>,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let interrupt = Interrupt::listen();
        loop {
            let batch = tokio::select! {
                biased;
                () = interrupt.wait() => bail!("interrupted"),
                batch = batches.recv() => batch,
            };
            let Some(batch) = batch else { return Ok(()) };
            let batch = batch?;
            self.has_ignored = batch.has_ignored;
            self.write(&batch.lines, progress).await?;
            progress.show(batch.offset);
        }
    }

    async fn write(&mut self, lines: &[Line], progress: &mut Progress) -> anyhow::Result<()> {
        let records: Vec<&Record> = lines
            .iter()
            .filter_map(|line| line.record.as_ref().ok())
            .collect();
        let target = batch::Target {
            db: self.db,
            clock: &self.clock,
            policy: self.policy,
        };
        let taken = batch::write(target, &records)
            .await
            .context("writing customers")?;
        let mut taken = taken.into_iter();
        for line in lines {
            let taken = match &line.record {
                Err(reason) => Some(Taken::Refused(reason.clone())),
                Ok(_) => taken.next(),
            };
            let email = line.record.as_ref().ok().map(|record| record.email.key());
            if let Some(taken) = taken {
                progress.note((line.number, email), &taken)?;
            }
            self.upto = line.number;
        }
        Ok(())
    }
}
