//! The file of a SQLite database: readable by its owner only, and used by one process at a time.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use sea_orm::sqlx::sqlite::SqliteConnectOptions;

/// The right to use a database, until this is dropped or the process dies.
#[derive(Debug)]
pub struct InUse {
    _lock: File,
}

/// Takes the database of a URL for this process, and makes its file if it is missing. None where the URL is not that of a
/// file.
///
/// The lock lies beside the file itself, so every way to name the file leads to the same lock. What SQLite keeps beside
/// the file has the same permissions.
///
/// # Errors
/// Another process has it, or there can be no such file.
pub fn take(url: &str) -> anyhow::Result<Option<InUse>> {
    let Some(path) = path_of(url) else {
        return Ok(None);
    };
    let shown = path.display();
    match private().create_new(true).open(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("creating the database {shown}"));
        }
        _ => {}
    }
    let file = fs::canonicalize(&path).with_context(|| format!("opening the database {shown}"))?;
    let metadata = fs::metadata(&file).with_context(|| format!("opening the database {shown}"))?;
    ensure!(
        metadata.is_file(),
        "the database {shown} is not a regular file"
    );
    #[cfg(unix)]
    ensure!(
        std::os::unix::fs::MetadataExt::nlink(&metadata) == 1,
        "the database {shown} has several names (hard links), and SQLite keeps a log of its own for each: leave it one"
    );
    let lock = lock(&with_ending(&file, ".lock"))?;
    let lock = lock.with_context(|| {
        format!("another process uses the database {shown}; SQLite is for one process at a time")
    })?;
    Ok(Some(InUse { _lock: lock }))
}

/// The file of a URL; none for another kind of database, or for one in memory.
fn path_of(url: &str) -> Option<PathBuf> {
    if !url.starts_with("sqlite:") || is_in_memory(url) {
        return None;
    }
    let options: SqliteConnectOptions = url.parse().ok()?;
    Some(options.get_filename().to_owned())
}

/// Whether a URL of SQLite names a database in memory.
pub(crate) fn is_in_memory(url: &str) -> bool {
    let database = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let (path, query) = database.split_once('?').unwrap_or((database, ""));
    path == ":memory:" || query.split('&').any(|pair| pair == "mode=memory")
}

/// The URL of a database file, whatever characters its name has.
///
/// # Errors
/// The name is not UTF-8, which the driver requires, or is empty.
pub fn url_of(file: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(file)
        .with_context(|| format!("locating the database {}", file.display()))?;
    let Some(text) = absolute.to_str() else {
        bail!(
            "the name of the database {} is not UTF-8: choose a folder with another name",
            absolute.display()
        );
    };
    let mut url = String::from("sqlite:");
    for byte in text.bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => url.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("?mode=rwc");
    Ok(url)
}

/// Locks a file, and makes it if it is missing; none while another process has it. It is never written to, so that a
/// link in its place leads to no harm.
///
/// # Errors
/// It is not a regular file, or cannot be opened.
pub fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let opening = || format!("opening the lock {}", path.display());
    let file = match private().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path).with_context(opening)?;
            ensure!(
                metadata.is_file(),
                "the lock {} is not a regular file: remove it",
                path.display()
            );
            OpenOptions::new()
                .write(true)
                .open(path)
                .with_context(opening)?
        }
        created => created.with_context(opening)?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(opening),
    }
}

/// Takes the permissions of everybody but the owner away from a regular file that is there. Not from one of another
/// user, which this process may not change.
pub fn make_private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return;
        };
        let mode = metadata.permissions().mode() & 0o777;
        if metadata.is_file() && mode & 0o077 != 0 {
            let private = fs::Permissions::from_mode(mode & 0o700);
            if let Err(error) = fs::set_permissions(path, private) {
                tracing::warn!(%error, file = %path.display(), "others may read a database file");
            }
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// The database and what SQLite keeps beside it.
pub fn with_logs(database: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| with_ending(database, ending))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_a_file_leads_to_it_whatever_its_name() {
        for name in [
            "plain",
            "a b",
            "100%",
            "50%20",
            "what?",
            "a#b",
            "x&y=z",
            "mode=memory",
            ":memory:",
            "sqlite:x",
            "http://x/y?z",
            "Жанна",
            "🦀",
            "\"quoted\"",
            "a\\b",
            "new\nline",
            "+",
        ] {
            let file = Path::new("/data").join(name).join("x.db");
            let url = url_of(&file).unwrap();
            assert_eq!(path_of(&url), Some(file), "{url}");
        }
        let relative = url_of(Path::new("some/x.db")).unwrap();
        assert!(path_of(&relative).unwrap().is_absolute());
        assert!(url_of(Path::new("")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn name_that_is_not_utf_8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"/data/\xff/x.db");
        let error = url_of(Path::new(name)).unwrap_err().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }

    #[test]
    fn only_the_url_of_a_file_has_one() {
        for url in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:x.db?mode=memory&cache=shared",
            "postgres://user@host/sqlite",
        ] {
            assert_eq!(path_of(url), None, "{url}");
            assert!(take(url).unwrap().is_none());
        }
        for url in ["sqlite:x.db", "sqlite://x.db?mode=rwc"] {
            assert_eq!(path_of(url), Some(PathBuf::from("x.db")));
        }
    }

    #[cfg(unix)]
    #[test]
    fn every_way_to_a_file_meets_the_same_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("x.db"), folder.path().join("link"));
        let held = take(&url_of(&file).unwrap()).unwrap();
        assert!(held.is_some());
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for way in [&file, &link, &folder.path().join("sub/../x.db")] {
            let error = take(&format!("sqlite:{}", way.display())).unwrap_err();
            assert!(error.to_string().contains("another process"), "{error}");
        }
        drop(held);
        assert!(take(&url_of(&link).unwrap()).unwrap().is_some());
        std::fs::hard_link(&file, folder.path().join("hard")).unwrap();
        let error = take(&url_of(&file).unwrap()).unwrap_err();
        assert!(error.to_string().contains("hard links"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_its_owners_and_no_link_is_followed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.db");
        let held = take(&url_of(&file).unwrap()).unwrap();
        for made in [&file, &folder.path().join("x.db.lock")] {
            let mode = std::fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", made.display());
        }
        drop(held);
        let (victim, other) = (folder.path().join("victim"), folder.path().join("y.db"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("y.db.lock")).unwrap();
        let error = take(&url_of(&other).unwrap()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
