//! The file of a journal on disk: readable by its owner only, used by one process at a time, and replaced as a whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use tempfile::NamedTempFile;

/// A file that no other process uses until this is dropped.
pub(crate) struct Place {
    /// Behind all symbolic links.
    path: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the file for this process, whether it is there yet or not.
    ///
    /// # Errors
    /// Another process has it, it is not a regular file, or its folder cannot be used.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let path = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
            Err(error) => {
                return Err(error).with_context(|| format!("opening the sandbox file {shown}"));
            }
            Ok(_) => fs::canonicalize(path)
                .with_context(|| format!("opening the sandbox file {shown}"))?,
        };
        let found = fs::metadata(&path).ok();
        ensure!(
            found.is_none_or(|found| found.is_file()),
            "the sandbox file {shown} is not a regular file"
        );
        let lock = lock(&with_ending(&path, ".lock"))?;
        Ok(Self { path, _lock: lock })
    }

    /// None if it is not there yet.
    pub(crate) fn open(&self) -> std::io::Result<Option<File>> {
        match OpenOptions::new().read(true).append(true).open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Puts what is written in the place of the file, all of it or nothing; returns the new file, open to append.
    pub(crate) fn replace(
        &self,
        write: impl FnOnce(&mut File) -> anyhow::Result<()>,
    ) -> anyhow::Result<File> {
        let parent = self.path.parent().filter(|parent| *parent != Path::new(""));
        let mut new = NamedTempFile::with_prefix_in(".sandbox-", parent.unwrap_or(Path::new(".")))?;
        write(new.as_file_mut())?;
        new.as_file().sync_all()?;
        new.persist(&self.path)?;
        Ok(OpenOptions::new().append(true).open(&self.path)?)
    }
}

/// What is there already is opened and not written to, so that a link in its place leads to no harm.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opening = || format!("opening the lock {}", path.display());
    let file = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).with_context(opening)?;
            ensure!(
                found.is_file(),
                "the lock {} is not a regular file: remove it",
                path.display()
            );
            options.open(path).with_context(opening)?
        }
        created => created.with_context(opening)?,
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another sandbox uses this file (its lock is {})",
            path.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(opening),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn write(place: &Place, text: &str) {
        let written = place.replace(|file| Ok(file.write_all(text.as_bytes())?));
        written.unwrap();
    }

    #[test]
    fn file_has_one_user_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let place = Place::take(&path).unwrap();
        assert!(place.open().unwrap().is_none());
        write(&place, "1");
        let error = Place::take(&path).err().unwrap().to_string();
        assert!(error.contains("another sandbox"), "{error}");
        for made in ["a.jsonl", "a.jsonl.lock"] {
            let made = std::fs::metadata(folder.path().join(made)).unwrap();
            assert_eq!(made.permissions().mode() & 0o777, 0o600);
        }
        drop(place);
        assert!(Place::take(&path).unwrap().open().unwrap().is_some());
    }

    #[test]
    fn link_leads_to_the_file_and_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        let place = Place::take(&link).unwrap();
        assert!(Place::take(&file).is_err(), "it is the same file");
        write(&place, "new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn nothing_but_a_regular_file_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, file) = (folder.path().join("victim"), folder.path().join("a"));
        std::fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.path().join("a.lock")).unwrap();
        assert!(Place::take(&file).is_err());
        assert!(Place::take(folder.path()).is_err());
        let dangling = folder.path().join("dangling");
        symlink(folder.path().join("nowhere"), &dangling).unwrap();
        assert!(Place::take(&dangling).is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
