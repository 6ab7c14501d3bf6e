//! How a file of customers is written: CSV or JSON lines.

use std::path::Path;

use anyhow::bail;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// RFC 4180, with a line of names first
    Csv,
    /// An object in each line
    Jsonl,
}

impl Format {
    /// What is asked for, or else what the file's ending says.
    ///
    /// # Errors
    /// Neither says it.
    pub(crate) fn of(path: &Path, asked: Option<Self>) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match (asked, ending) {
            (Some(asked), _) => Ok(asked),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("jsonl")) => Ok(Self::Jsonl),
            _ => bail!(
                "{} ends neither in .csv nor in .jsonl: say which it is by --format",
                path.display()
            ),
        }
    }
}
