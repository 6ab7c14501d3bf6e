//! What a command writes for a person: a file that is there when it is complete, and not before, or standard output.

use std::fs::{self, File};
use std::io::{BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

/// Where to write.
pub(crate) enum Output {
    Stdout(Stdout),
    File(AtomicFile),
}

/// A new file beside its target, under a name that nobody can foretell. It gets its name when it is finished; one that
/// nobody finishes is removed, unless the process is killed.
pub(crate) struct AtomicFile {
    writer: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Output {
    /// A path of `-` or `/dev/stdout`, or none, is standard output.
    ///
    /// # Errors
    /// There is something else than a regular file of that name: only such a file is ever replaced.
    pub(crate) fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        match path.filter(|path| !is_stdout(path)) {
            Some(path) => Ok(Self::File(AtomicFile::create(path)?)),
            None => Ok(Self::Stdout(std::io::stdout())),
        }
    }

    /// Gives a file its name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut stdout) => stdout.flush().context("writing to standard output"),
            Self::File(file) => file.finish(),
        }
    }
}

pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

impl AtomicFile {
    fn create(path: &Path) -> anyhow::Result<Self> {
        check_target(path)?;
        // A file that is made anew, for its owner's eyes only: it is about people.
        let file = NamedTempFile::with_prefix_in(".customer-sync-", folder(path))
            .with_context(|| format!("creating a file in {}", folder(path).display()))?;
        Ok(Self {
            writer: BufWriter::new(file),
            path: path.to_owned(),
        })
    }

    fn finish(self) -> anyhow::Result<()> {
        let Self { writer, path } = self;
        let writing = || format!("writing {}", path.display());
        let file = writer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .with_context(writing)?;
        file.as_file().sync_all().with_context(writing)?;
        check_target(&path)?;
        // A link that was put there meanwhile would be replaced, and not followed.
        file.persist(&path).with_context(writing)?;
        // The name survives a power cut too, where a folder can be synchronised.
        let _ = File::open(folder(&path)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

fn check_target(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) if found.is_symlink() => {
            bail!("{shown} is a symbolic link: name the file that it leads to")
        }
        Ok(found) if found.is_dir() => bail!("{shown} is a folder: name a file in it"),
        Ok(_) => {
            bail!("{shown} is not a regular file: write to standard output (-) and redirect it")
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("opening {shown}")),
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.writer.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.writer.flush(),
        }
    }
}
