//! The files that commands write, and those of DATA_DIR: whose they are, and what is never replaced.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use platform::sqlite_file;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The commands that write a file, with the place of its name.
fn writing<'a>(path: &'a str, lines: &'a str) -> [Vec<&'a str>; 3] {
    [
        vec!["export", "--format", "csv", path],
        vec!["plan", "--output", path],
        vec!["import", "--errors", path, lines],
    ]
}

#[tokio::test]
async fn only_a_regular_file_is_replaced() {
    let pair = Pair::new().await;
    pair.create("ada@x.io", None).await;
    let victim = pair.file("victim", "precious");
    let lines = pair.file("lines.jsonl", "{\"email\": \"grace@x.io\"}\n");
    symlink(&victim, pair.path("link")).unwrap();
    symlink(pair.path("nowhere"), pair.path("dangling")).unwrap();
    std::fs::create_dir(pair.path("folder")).unwrap();
    let fifo = Command::new("mkfifo").arg(pair.path("fifo")).status();
    assert!(fifo.unwrap().success());
    for (name, why) in [
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
        ("folder", "is a folder"),
        ("fifo", "is not a regular file"),
    ] {
        let path = pair.path(name).display().to_string();
        for arguments in writing(&path, &lines) {
            let ran = pair.run(&arguments).await;
            assert!(
                ran.ended(1).stderr.contains(why),
                "{arguments:?}: {}",
                ran.stderr
            );
        }
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    assert!(!pair.path("nowhere").exists());
    let fifo = std::fs::symlink_metadata(pair.path("fifo")).unwrap();
    assert!(fifo.file_type().is_fifo());
}

/// Whoever may write in the folder knows the name of the file that will be there.
#[tokio::test]
async fn no_link_in_the_folder_is_followed_while_a_file_is_written() {
    let pair = Pair::new().await;
    pair.create("ada@x.io", None).await;
    let victim = pair.file("victim", "precious");
    let lines = pair.file("lines.jsonl", "{}\n");
    for ending in ["part", "new", "tmp"] {
        symlink(&victim, pair.path(&format!("out.{ending}"))).unwrap();
    }
    let path = pair.path("out").display().to_string();
    for arguments in writing(&path, &lines) {
        pair.run(&arguments).await;
        assert_eq!(mode(&pair.path("out")), 0o600, "{arguments:?}");
        assert!(!pair.path("out").is_symlink());
        std::fs::set_permissions(pair.path("out"), PermissionsExt::from_mode(0o644)).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    let left = std::fs::read_dir(pair.folder.path()).unwrap();
    let left = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(left.count(), 0, "what was begun is removed or renamed");
}

#[tokio::test]
async fn dash_and_dev_stdout_are_standard_output() {
    let pair = Pair::new().await;
    pair.create("ada@x.io", None).await;
    for path in ["-", "/dev/stdout"] {
        let ran = pair.run(&["export", path]).await;
        assert!(ran.ended(0).stdout.contains("ada@x.io"));
    }
}

#[tokio::test]
async fn any_folder_is_a_data_dir_and_is_its_owners() {
    let pair = Pair::new().await;
    let line = pair.file("a.jsonl", "{\"email\": \"ada@x.io\"}\n");
    for name in [
        "with space",
        "100%",
        "%41",
        "what?",
        "a#b",
        "mode=memory",
        ":memory:",
        "sqlite:x",
        "http:/x",
        "Жанна",
        "it's \"quoted\"",
        "new\nline",
        "slash/",
    ] {
        let folder = pair.path(name);
        let command = |arguments: &[&str]| {
            let mut command = pair.command(arguments);
            command.env_remove("DATABASE_URL").env("DATA_DIR", &folder);
            command.current_dir(pair.folder.path());
            command
        };
        run(command(&["import", &line])).await.ended(0);
        let ran = run(command(&["export"])).await;
        assert!(ran.ended(0).stdout.contains("ada@x.io"), "{name}");
        assert_eq!(mode(&folder), 0o700, "{name}");
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert!(folder.join("customer-sync.db").is_file(), "{name}");
        // Relative, and made by an older version.
        let database = folder.join("customer-sync.db");
        std::fs::set_permissions(&database, PermissionsExt::from_mode(0o644)).unwrap();
        let mut relative = command(&["export"]);
        relative.env("DATA_DIR", name);
        let ran = run(relative).await;
        assert!(ran.ended(0).stdout.contains("ada@x.io"), "{name}");
        assert_eq!(mode(&database), 0o600, "{name}");
    }
}

#[tokio::test]
async fn folder_name_that_is_not_utf_8_is_refused_with_the_reason() {
    use std::os::unix::ffi::OsStrExt;
    let pair = Pair::new().await;
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    let mut command = pair.command(&["export"]);
    command
        .env_remove("DATABASE_URL")
        .env("DATA_DIR", pair.folder.path().join(name));
    let ran = run(command).await;
    assert!(ran.ended(1).stderr.contains("UTF-8"), "{}", ran.stderr);
}

/// By whatever name, and from whatever DATA_DIR.
#[tokio::test]
async fn database_in_a_file_is_for_one_process() {
    let pair = Pair::new().await;
    let lines = pair.file("lines.jsonl", "{\"email\": \"grace@x.io\"}\n");
    let url = pair.database.url.expose();
    let file = url.trim_start_matches("sqlite:");
    symlink(file, pair.path("link.db")).unwrap();
    let link = format!("sqlite:{}", pair.path("link.db").display());
    let held = sqlite_file::take(url).unwrap();
    for url in [url, &link] {
        for arguments in [&["export"][..], &["plan"], &["import", &lines], &[]] {
            let mut command = pair.command(arguments);
            command
                .env("DATABASE_URL", url)
                .env("API_LISTEN", "127.0.0.1:0");
            let ran = run(command).await;
            let why = "another process uses the database";
            assert!(
                ran.ended(1).stderr.contains(why),
                "{arguments:?}: {}",
                ran.stderr
            );
        }
    }
    drop(held);
    let mut command = pair.command(&["export"]);
    command.env("DATABASE_URL", link);
    run(command).await.ended(0);
}
