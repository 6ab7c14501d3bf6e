//! How far an import has come: a bar on a terminal, else a line every ten seconds; and the lines that are refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget};

use super::batch::Taken;
use crate::command::file::Output;

const EVERY: Duration = Duration::from_secs(10);

/// So many refused lines are told, and so many that repeat an e-mail; the rest is counted.
const TOLD: u64 = 20;

/// Counts, and tells.
pub(super) struct Progress {
    counts: Counts,
    /// The first line of each e-mail so far, by a hash: 16 bytes each, and what the map needs. Two e-mails with one hash
    /// would be told as one.
    emails: HashMap<u64, u64>,
    errors: Option<Output>,
    bar: Option<ProgressBar>,
    told_at: Instant,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) refused: u64,
    repeated: u64,
}

impl Progress {
    /// `size` is the file's in bytes, if it has one; every refused line goes to `errors`, too.
    pub(super) fn begin(size: Option<u64>, errors: Option<&Path>) -> anyhow::Result<Self> {
        let is_watched = std::io::stderr().is_terminal();
        let bar = is_watched.then(|| {
            let target = ProgressDrawTarget::stderr();
            match size {
                Some(size) => ProgressBar::with_draw_target(Some(size), target),
                None => ProgressBar::with_draw_target(None, target),
            }
        });
        Ok(Self {
            counts: Counts::default(),
            emails: HashMap::new(),
            errors: errors.map(|path| Output::create(Some(path))).transpose()?,
            bar,
            told_at: Instant::now(),
        })
    }

    /// Counts what became of a line, of this e-mail if it has one.
    pub(super) fn note(
        &mut self,
        (number, email): (u64, Option<&str>),
        taken: &Taken,
    ) -> anyhow::Result<()> {
        if let Some(email) = email {
            let mut hasher = DefaultHasher::new();
            email.hash(&mut hasher);
            match self.emails.entry(hasher.finish()) {
                Entry::Vacant(entry) => {
                    entry.insert(number);
                }
                Entry::Occupied(entry) => {
                    let first = *entry.get();
                    self.counts.repeated += 1;
                    let text = format!("line {number}: has the e-mail of line {first}");
                    self.report(&text, self.counts.repeated)?;
                }
            }
        }
        match taken {
            Taken::Created => self.counts.created += 1,
            Taken::Updated => self.counts.updated += 1,
            Taken::Unchanged => self.counts.unchanged += 1,
            Taken::Refused(reason) => {
                self.counts.refused += 1;
                self.refuse(number, reason)?;
            }
        }
        Ok(())
    }

    fn refuse(&mut self, number: u64, reason: &str) -> anyhow::Result<()> {
        self.report(&format!("line {number}: {reason}"), self.counts.refused)
    }

    /// `count` is how many of its kind there are by now.
    fn report(&mut self, text: &str, count: u64) -> anyhow::Result<()> {
        if let Some(errors) = &mut self.errors {
            writeln!(errors, "{text}").context("writing a line to --errors")?;
        }
        if count <= TOLD {
            self.tell(text);
        }
        Ok(())
    }

    fn tell(&self, text: &str) {
        let tell = || {
            let _ = writeln!(std::io::stderr(), "{text}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    /// Shows how far it is, now and then: `offset` bytes were read.
    pub(super) fn show(&mut self, offset: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(offset),
            None if self.told_at.elapsed() >= EVERY => {
                self.told_at = Instant::now();
                self.tell(&format!("so far: {}", self.counts.text()));
            }
            None => {}
        }
    }

    /// The summary, once all is told.
    pub(super) fn end(self) -> anyhow::Result<Counts> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        for (count, what) in [
            (self.counts.refused, "refused lines"),
            (
                self.counts.repeated,
                "lines with the e-mail of an earlier line",
            ),
        ] {
            if count > TOLD {
                let _ = writeln!(std::io::stderr(), "and {} more {what}", count - TOLD);
            }
        }
        if let Some(errors) = self.errors {
            errors.finish()?;
        }
        Ok(self.counts)
    }
}

impl Counts {
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} created, {} updated, {} unchanged, {} refused",
            self.created, self.updated, self.unchanged, self.refused
        );
        if self.repeated > 0 {
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "; {} had the e-mail of a line before and were applied after it",
                self.repeated
            );
        }
        text
    }
}
