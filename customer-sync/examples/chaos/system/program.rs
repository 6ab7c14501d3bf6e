//! A program of ours as a process: started, killed, and started again when it ends by itself, as any
//! process manager would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};

pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
    log: PathBuf,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    /// It is down on purpose.
    held: bool,
    /// How often it ended although nobody had asked it to.
    pub(crate) deaths: u32,
}

impl Program {
    pub(crate) fn new(
        name: &str,
        (programs, logs): (&Path, &Path),
        program: &str,
        settings: &[(&str, String)],
    ) -> Self {
        let settings = settings.iter();
        Self {
            name: name.to_owned(),
            path: programs.join(program),
            log: logs.join(format!("{name}.log")),
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            child: None,
            held: true,
            deaths: 0,
        }
    }

    /// Starts it with its settings and no others. It dies with us.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("opening {}", self.log.display()))?;
        let output = log.try_clone().context("sharing a log")?;
        let mut command = Command::new(&self.path);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(log)
            .kill_on_drop(true);
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        let child = command.spawn();
        self.child = Some(child.with_context(|| format!("starting {}", self.path.display()))?);
        self.held = false;
        Ok(())
    }

    /// Kills it as the system would, and leaves it down.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.held = true;
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("killing a program")?;
        }
        Ok(())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Asks it to end and leaves it down. One that does not end in time is killed, as process managers do.
    pub(crate) async fn stop(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.held = true;
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        if let Some(id) = child.id() {
            // It may have ended a moment ago.
            let _ = Command::new("kill").arg(id.to_string()).status().await;
        }
        let _ = tokio::time::timeout(patience, child.wait()).await;
        self.kill().await
    }

    /// Starts it again if it has ended by itself.
    pub(crate) fn watch(&mut self) -> anyhow::Result<()> {
        let Some(child) = self.child.as_mut().filter(|_| !self.held) else {
            return Ok(());
        };
        if child.try_wait().context("watching a program")?.is_some() {
            self.deaths += 1;
            self.start()?;
        }
        Ok(())
    }
}
