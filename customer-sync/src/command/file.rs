//! A file that is there when it is complete, and not before.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file under its final name with `.part` behind it. What was written so far stays there if nobody finishes it.
pub(crate) struct Part {
    writer: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
}

impl Part {
    /// Starts one, for its owner's eyes only: it is about people.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(&part)
            .with_context(|| format!("opening {}", part.display()))?;
        Ok(Self {
            writer: BufWriter::new(file),
            part,
            path: path.to_owned(),
        })
    }

    /// Gives it its name, in place of an older file of that name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let shown = self.part.display().to_string();
        let file = self
            .writer
            .into_inner()
            .with_context(|| format!("writing {shown}"))?;
        file.sync_all()
            .with_context(|| format!("writing {shown} to the disk"))?;
        std::fs::rename(&self.part, &self.path)
            .with_context(|| format!("renaming {shown} to {}", self.path.display()))
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
