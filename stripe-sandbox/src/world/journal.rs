//! The file of an account: a first line that says what it is, then one JSON line for each change. A line is
//! handed to the operating system before its answer leaves, so it survives the death of the process (not a
//! power cut: there is no fsync for each line).

pub(crate) mod entry;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use self::entry::Entry;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    stripe_sandbox: u32,
    account: String,
}

pub(crate) struct Journal {
    file: File,
    line: Vec<u8>,
}

impl Journal {
    /// Reads every entry of an existing file in order and opens it to append; creates it when there is none.
    /// Gives the number of entries read.
    pub(crate) fn open(
        path: &Path,
        account: &str,
        mut apply: impl FnMut(Entry),
    ) -> anyhow::Result<(Self, usize)> {
        let wrong = || format!("the sandbox file {} can't be read", path.display());
        if !path.exists() {
            return Ok((Self::rewrite(path, account, std::iter::empty())?, 0));
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .with_context(wrong)?;
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        let mut good = reader.read_line(&mut line).with_context(wrong)? as u64;
        let header: Header = serde_json::from_str(&line)
            .context("its first line is no sandbox header")
            .with_context(wrong)?;
        if header.stripe_sandbox != FORMAT {
            bail!(
                "{}: format {} is not {FORMAT}",
                wrong(),
                header.stripe_sandbox
            );
        }
        if header.account != account {
            bail!(
                "{}: it belongs to the account {}, not {account}",
                wrong(),
                header.account
            );
        }
        let mut count = 0;
        loop {
            line.clear();
            let read = reader.read_line(&mut line).with_context(wrong)?;
            // A line without its end was being written when the process died: its answer never left.
            if read == 0 || !line.ends_with('\n') {
                break;
            }
            let number = count + 2;
            apply(
                serde_json::from_str(&line)
                    .with_context(|| format!("line {number} is damaged"))
                    .with_context(wrong)?,
            );
            good += read as u64;
            count += 1;
        }
        file.set_len(good).with_context(wrong)?;
        Ok((
            Self {
                file,
                line: Vec::new(),
            },
            count,
        ))
    }

    /// Writes a fresh file of `entries` and puts it in the place of the old one.
    pub(crate) fn rewrite(
        path: &Path,
        account: &str,
        entries: impl Iterator<Item = Entry>,
    ) -> anyhow::Result<Self> {
        let failed = || format!("the sandbox file {} can't be written", path.display());
        let beside = PathBuf::from(format!("{}.new", path.display()));
        let mut writer = BufWriter::new(File::create(&beside).with_context(failed)?);
        write_line(
            &mut writer,
            &Header {
                stripe_sandbox: FORMAT,
                account: account.to_owned(),
            },
        )
        .with_context(failed)?;
        for entry in entries {
            write_line(&mut writer, &entry).with_context(failed)?;
        }
        writer
            .into_inner()
            .context("flushing")
            .with_context(failed)?
            .sync_all()
            .with_context(failed)?;
        std::fs::rename(&beside, path).with_context(failed)?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .with_context(failed)?;
        Ok(Self {
            file,
            line: Vec::new(),
        })
    }

    /// Appends one entry with a single write.
    pub(crate) fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.line.clear();
        write_line(&mut self.line, entry)?;
        self.file.write_all(&self.line)
    }
}

fn write_line(writer: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}
