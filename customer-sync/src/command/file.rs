//! A file that is there when it is complete, and not before.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file under its final name with `.part` behind it. One that nobody finishes is removed; a `.part` that is left behind
/// is of a process that was killed.
pub(crate) struct Part {
    /// None once it is finished.
    writer: Option<BufWriter<File>>,
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
            writer: Some(BufWriter::new(file)),
            part,
            path: path.to_owned(),
        })
    }

    /// Gives it its name, in place of an older file of that name.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let shown = self.part.display().to_string();
        self.open()
            .and_then(Write::flush)
            .with_context(|| format!("writing {shown}"))?;
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let file = writer
            .into_inner()
            .with_context(|| format!("writing {shown}"))?;
        file.sync_all()
            .with_context(|| format!("writing {shown} to the disk"))?;
        std::fs::rename(&self.part, &self.path)
            .with_context(|| format!("renaming {shown} to {}", self.path.display()))
    }

    fn open(&mut self) -> std::io::Result<&mut BufWriter<File>> {
        self.writer
            .as_mut()
            .ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.open()?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.open()?.flush()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
