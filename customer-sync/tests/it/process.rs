//! A program of the workspace, started for one test and killed with it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take for anything before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a program with these settings and no others. Its log goes to a file of `folder`, which a
    /// failing test can be explained by.
    pub(crate) fn start(program: &str, folder: &Path, settings: &[(&str, String)]) -> Self {
        Self::start_as(Command::new(path(program)), program, folder, settings)
    }

    /// The same, with arguments.
    pub(crate) fn start_with(
        program: &str,
        arguments: &[&str],
        folder: &Path,
        settings: &[(&str, String)],
    ) -> Self {
        let mut command = Command::new(path(program));
        command.args(arguments);
        Self::start_as(command, program, folder, settings)
    }

    /// The same, with a limit of open files.
    pub(crate) fn start_limited(
        open_files: u32,
        program: &str,
        folder: &Path,
        settings: &[(&str, String)],
    ) -> Self {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &format!("ulimit -n {open_files} && exec \"$0\"")])
            .arg(path(program));
        Self::start_as(command, program, folder, settings)
    }

    fn start_as(
        mut command: Command,
        program: &str,
        folder: &Path,
        settings: &[(&str, String)],
    ) -> Self {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(format!("{program}.log")))
            .unwrap();
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        for (name, value) in settings {
            command.env(name, value);
        }
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            name: program.to_owned(),
            child,
            stdout,
        }
    }

    /// Reads its standard output up to a line that contains `text`, and returns that line.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let mut lines = self.stdout.by_ref().lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(text)));
        line.unwrap_or_else(|| panic!("{} printed no line with {text:?}", self.name))
            .unwrap()
    }

    /// As a power cut would end it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.signal();
        self.ended()
    }

    pub(crate) fn signal(&self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn ended(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end; its exit code and what it said on stderr.
pub(crate) fn run(program: &str, arguments: &[&str], settings: &[(&str, String)]) -> (i32, String) {
    let (code, _, said) = outcome(program, arguments, settings);
    (code, said)
}

/// Runs a program to its end; its exit code, its stdout and its stderr.
pub(crate) fn outcome(
    program: &str,
    arguments: &[&str],
    settings: &[(&str, String)],
) -> (i32, String, String) {
    let output = Command::new(path(program))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().map(|(name, value)| (*name, value)))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A port that nobody listens on, for programs that can't be asked which one they took.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The programs are built beside ours: `scripts/test` builds them first.
fn path(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_customer-sync")).with_file_name(program);
    assert!(
        path.exists(),
        "{program} is not built: run scripts/test, or cargo build --workspace --bins"
    );
    path
}
