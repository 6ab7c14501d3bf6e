//! The file of an account: a first line that says what it is, then one JSON line for each change. A line is
//! handed to the operating system before its answer leaves, so it survives the death of the process (not a
//! power cut: there is no fsync for each line).

pub(crate) mod entry;
mod place;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use self::entry::Entry;
use self::place::Place;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header {
    stripe_sandbox: u32,
    account: String,
}

pub(crate) struct Journal {
    place: Place,
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
        let place = Place::take(path)?;
        let Some(file) = place.open().with_context(wrong)? else {
            let file = fresh(&place, account, std::iter::empty())?;
            return Ok((Self::of(place, file), 0));
        };
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
        Ok((Self::of(place, file), count))
    }

    fn of(place: Place, file: File) -> Self {
        Self {
            place,
            file,
            line: Vec::new(),
        }
    }

    /// Writes a fresh file of `entries` and puts it in the place of the old one.
    pub(crate) fn rewrite(
        &mut self,
        account: &str,
        entries: impl Iterator<Item = Entry>,
    ) -> anyhow::Result<()> {
        self.file = fresh(&self.place, account, entries)?;
        Ok(())
    }

    /// Appends one entry with a single write.
    pub(crate) fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.line.clear();
        write_line(&mut self.line, entry)?;
        self.file.write_all(&self.line)
    }
}

fn fresh(
    place: &Place,
    account: &str,
    entries: impl Iterator<Item = Entry>,
) -> anyhow::Result<File> {
    let written = place.replace(|file| {
        let mut writer = BufWriter::new(file);
        write_line(
            &mut writer,
            &Header {
                stripe_sandbox: FORMAT,
                account: account.to_owned(),
            },
        )?;
        for entry in entries {
            write_line(&mut writer, &entry)?;
        }
        Ok(writer.flush()?)
    });
    written.context("the sandbox file can't be written")
}

fn write_line(writer: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}
