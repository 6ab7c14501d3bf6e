//! `customer-sync import`: customers from a file, line by line, through the same write as the API's.
//!
//! A thread reads and checks the lines; they are written some at a time. What is committed is never taken back, and
//! running it again changes nothing that is as the file says already.

use std::fs::File;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use csv::{Csv, Layout};
use jsonl::Jsonl;
use lines::Lines;
use progress::Progress;
use record::{Line, Record};
use source::{Encoding, Source};

mod batch;
mod csv;
mod jsonl;
mod lines;
mod progress;
mod record;
mod source;

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
    /// Write the number and reason of every refused line, and of every line that repeats an e-mail, to this file; stderr has the first 20 of each
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// The encoding of the file; absent: that of its byte order mark, or utf-8
    #[arg(long, value_enum)]
    encoding: Option<Encoding>,
    #[command(flatten)]
    layout: Layout,
}

/// Some lines, or why no more could be read.
type Read = anyhow::Result<Batch>;

struct Batch {
    lines: Vec<Line>,
    /// What of the file is ignored, in sentences.
    ignored: String,
}

/// A file, and how it is read.
struct Input {
    bytes: Box<dyn std::io::Read + Send>,
    format: Format,
    encoding: Option<Encoding>,
    layout: Layout,
    /// Bytes that were read by now.
    offset: Arc<AtomicU64>,
}

pub(crate) async fn run(arguments: Arguments, options: Options) -> anyhow::Result<Ended> {
    platform::telemetry::init(&arguments.log)?;
    let is_stdin = options.file.as_os_str() == "-";
    let format = Format::of(&options.file, options.format)?;
    if format == Format::Jsonl && options.layout.is_for_csv() {
        bail!("--delimiter, --preset and --map are for csv files");
    }
    let bytes: Box<dyn std::io::Read + Send>;
    let mut size = None;
    if is_stdin {
        bytes = Box::new(std::io::stdin());
    } else {
        let path = options.file.display();
        let file = File::open(&options.file).with_context(|| format!("opening {path}"))?;
        size = file.metadata().ok().map(|file| file.len());
        bytes = Box::new(file);
    }
    let offset = Arc::new(AtomicU64::new(0));
    let input = Input {
        bytes,
        format,
        encoding: options.encoding,
        layout: options.layout,
        offset: Arc::clone(&offset),
    };
    let opened = open::fillable(&arguments).await?;
    let mut progress = Progress::begin(size, options.errors.as_deref())?;
    let batches = read_ahead(input)?;
    let mut import = Import {
        db: &opened.db,
        clock: Clock::system(),
        policy: arguments.api.email_reject,
        upto: 0,
        offset,
        ignored: String::new(),
    };
    let ended = import.all(batches, &mut progress).await;
    let counts = progress.end()?;
    let _ = writeln!(std::io::stdout(), "{}.{}", counts.text(), import.ignored);
    let upto = import.upto;
    ended.with_context(|| {
        format!(
            "stopped; all up to line {upto} is committed but for refused lines, and running it again is safe"
        )
    })?;
    Ok(Ended::with_rest(counts.refused > 0))
}

/// Reads in a thread of its own: stdin may say nothing for as long as it likes.
fn read_ahead(input: Input) -> anyhow::Result<mpsc::Receiver<Read>> {
    let (sender, batches) = mpsc::channel(AHEAD);
    std::thread::Builder::new()
        .name("import".to_owned())
        .spawn(move || {
            if let Err(error) = read_all(input, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })
        .context("starting to read")?;
    Ok(batches)
}

/// Reads the lines of one format.
enum Reader {
    Csv(Csv),
    Jsonl(Jsonl),
}

impl Reader {
    fn begin(
        input: &Input,
        lines: &mut Lines<impl BufRead>,
        encoding: Encoding,
    ) -> anyhow::Result<Self> {
        Ok(match input.format {
            Format::Csv => Self::Csv(Csv::begin(lines, input.layout.clone(), encoding)?),
            Format::Jsonl => Self::Jsonl(Jsonl {
                encoding,
                ignores_unknown: input.layout.ignore_unknown,
            }),
        })
    }

    fn next(&self, lines: &mut Lines<impl BufRead>) -> std::io::Result<Option<Line>> {
        match self {
            Self::Csv(csv) => csv.next(lines),
            Self::Jsonl(jsonl) => jsonl.next(lines),
        }
    }

    fn ignored(&self) -> String {
        match self {
            Self::Csv(csv) => csv.ignored(),
            Self::Jsonl(_) => String::new(),
        }
    }
}

fn read_all(mut input: Input, to: &mpsc::Sender<Read>) -> anyhow::Result<()> {
    let bytes = std::mem::replace(&mut input.bytes, Box::new(std::io::empty()));
    let source = Source::open(bytes, input.encoding, Arc::clone(&input.offset))?;
    let mut lines = Lines::open(source.text).context("reading the file")?;
    let reader = Reader::begin(&input, &mut lines, source.encoding)?;
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            match reader.next(&mut lines).context("reading the file")? {
                Some(line) => batch.push(line),
                None => break,
            }
        }
        let is_last = batch.len() < BATCH;
        let batch = Batch {
            lines: batch,
            ignored: reader.ignored(),
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
    offset: Arc<AtomicU64>,
    ignored: String,
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
            self.ignored = batch.ignored;
            self.write(&batch.lines, progress).await?;
            progress.show(self.offset.load(Ordering::Relaxed));
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
