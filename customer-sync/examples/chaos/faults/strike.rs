//! One fault: it strikes, lasts, and is mended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use entity::message::QUEUES;
use reqwest::Client;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Kind, STRIPE, clock, disk, pause, restore};
use crate::history::History;
use crate::system::proxy::{Mode, Way};
use crate::system::{Server, System, control};

pub(super) struct Strike {
    pub(super) kind: Kind,
    /// Drawn by the seed: which of those that the kind can mean.
    pub(super) which: usize,
    pub(super) lasting: Duration,
}

/// As long as rabbitmqctl may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The queues that policies are set for.
const POLICY_FOR: &str = r"^customer\.(upsync|downsync)$";
/// How many of the requests that a fault of Stripe's could strike, it does strike.
const SHARE: f64 = 0.3;

impl Strike {
    pub(super) async fn run(
        &self,
        (system, history): (&Mutex<System>, &History),
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        match self.kind {
            Kind::KillApi => self.kill(system, "api", stop).await,
            Kind::KillRelay => self.kill(system, "outbox-relay", stop).await,
            Kind::KillWorker => self.kill(system, "sync-worker", stop).await,
            Kind::Cut(server) => self.cut(system, server, stop).await,
            Kind::HalfOpen(server) => {
                let ways = [Way::Both, Way::Answers, Way::Questions];
                let mode = Mode::Swallow(ways[self.which % ways.len()]);
                self.disturb(system, (server, mode), stop).await
            }
            Kind::Slow(server) => {
                let modes = [
                    Mode::Delay(Duration::from_millis(150)),
                    Mode::Throttle(20_000),
                ];
                let mode = modes[self.which % modes.len()];
                self.disturb(system, (server, mode), stop).await
            }
            Kind::RestartPostgres => control(&postgres(system).await, "restart").await,
            Kind::CrashPostgres => self.bounce(&postgres(system).await, "kill", stop).await,
            Kind::ReadOnlyPostgres => self.read_only(system, stop).await,
            Kind::RestartRabbitMq => self.bounce(&rabbitmq(system).await, "stop", stop).await,
            Kind::CrashRabbitMq => self.bounce(&rabbitmq(system).await, "kill", stop).await,
            Kind::QueueFull => self.policy(system, r#"{"max-length":1}"#, stop).await,
            Kind::DropHead => {
                let definition = r#"{"max-length":1,"overflow":"drop-head"}"#;
                self.policy(system, definition, stop).await
            }
            Kind::MessageTtl => self.policy(system, r#"{"message-ttl":1}"#, stop).await,
            Kind::QueueDeleted => self.lose(system, "delete_queue").await,
            Kind::QueuePurged => self.lose(system, "purge_queue").await,
            Kind::MemoryAlarm => self.alarm(system, stop).await,
            Kind::StepClock => clock::step(self, system, stop).await,
            Kind::FullDisk => disk::fill(self, system, stop).await,
            Kind::RestoreDump => restore::restore(self, (system, history), stop).await,
            Kind::Stripe(set) => self.stripe(system, set, stop).await,
        }
    }

    async fn kill(
        &self,
        system: &Mutex<System>,
        program: &str,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let place = {
            let mut system = system.lock().await;
            let programs = system.programs.iter().enumerate();
            let places: Vec<_> = programs
                .filter(|(_, it)| it.name.starts_with(program))
                .map(|(place, _)| place)
                .collect();
            let place = places[self.which % places.len()];
            system.programs[place].kill().await?;
            place
        };
        pause(self.lasting / 4, stop).await;
        system.lock().await.programs[place].start()
    }

    /// The links of one process to a server, or of all of them.
    fn chosen(&self, system: &System, server: Server) -> Vec<usize> {
        let links = system.links.iter().enumerate();
        let places: Vec<_> = links
            .filter(|(_, link)| link.server == server)
            .map(|(place, _)| place)
            .collect();
        match self.which % (places.len() + 1) {
            0 => places,
            one => vec![places[one - 1]],
        }
    }

    async fn cut(
        &self,
        system: &Mutex<System>,
        server: Server,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        for _ in 0..4 {
            let system = system.lock().await;
            for place in self.chosen(&system, server) {
                system.links[place].proxy.cut();
            }
            drop(system);
            pause(self.lasting / 8, stop).await;
        }
        Ok(())
    }

    async fn disturb(
        &self,
        system: &Mutex<System>,
        (server, mode): (Server, Mode),
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let set = async |mode| {
            let system = system.lock().await;
            for place in self.chosen(&system, server) {
                system.links[place].proxy.set(mode);
            }
        };
        set(mode).await;
        pause(self.lasting, stop).await;
        set(Mode::Pass).await;
        Ok(())
    }

    async fn bounce(&self, ctl: &Path, down: &str, stop: &CancellationToken) -> anyhow::Result<()> {
        control(ctl, down).await?;
        pause(self.lasting / 4, stop).await;
        control(ctl, "start").await
    }

    /// As an operator stops writes before a switch-over. Sessions that began meanwhile stay read-only afterwards.
    async fn read_only(
        &self,
        system: &Mutex<System>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let db = system.lock().await.connect().await?;
        let set = |action: &str| {
            format!(
                "begin; set transaction read write; do $$ begin execute format(\
                 'alter database %I {action}', current_database()); end $$; commit"
            )
        };
        db.execute_unprepared(&set("set default_transaction_read_only = on"))
            .await?;
        db.execute_unprepared(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and application_name <> 'chaos'",
        )
        .await?;
        pause(self.lasting, stop).await;
        db.execute_unprepared(&set("reset default_transaction_read_only"))
            .await?;
        Ok(db.close().await?)
    }

    /// What an operator may set for our queues. What they cannot hold then they refuse, or drop.
    async fn policy(
        &self,
        system: &Mutex<System>,
        definition: &str,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let ctl = rabbitmq(system).await;
        let set = ["set_policy", "chaos", POLICY_FOR, definition];
        rabbitmqctl(&ctl, &[&set[..], &["--apply-to", "queues"]].concat()).await?;
        pause(self.lasting, stop).await;
        rabbitmqctl(&ctl, &["clear_policy", "chaos"]).await
    }

    /// One of our queues loses its messages.
    async fn lose(&self, system: &Mutex<System>, command: &str) -> anyhow::Result<()> {
        let ctl = rabbitmq(system).await;
        let (queue, _) = QUEUES[self.which % QUEUES.len()];
        // It may have been deleted a moment ago.
        let _ = rabbitmqctl(&ctl, &[command, queue]).await;
        Ok(())
    }

    async fn alarm(&self, system: &Mutex<System>, stop: &CancellationToken) -> anyhow::Result<()> {
        let ctl = rabbitmq(system).await;
        rabbitmqctl(&ctl, &["set_vm_memory_high_watermark", "absolute", "1MB"]).await?;
        pause(self.lasting, stop).await;
        rabbitmqctl(&ctl, &["set_vm_memory_high_watermark", "0.4"]).await
    }

    async fn stripe(
        &self,
        system: &Mutex<System>,
        set: usize,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let url = format!("{}/_sandbox/faults", system.lock().await.sandbox);
        let http = Client::builder().no_proxy().build()?;
        for (on, kind) in STRIPE[set] {
            let mut fault = json!({
                "on": on, "kind": kind, "times": null, "probability": SHARE,
            });
            if kind.starts_with("latency") {
                // One is waited for, the other is given up.
                fault["ms"] = if kind.ends_with("after_effect") {
                    1_000
                } else {
                    7_000
                }
                .into();
            }
            if *kind == "rate_limited" {
                fault["reason"] = "global-rate".into();
            }
            let armed = http.post(&url).json(&fault).send().await?;
            ensure!(armed.status().is_success(), "the sandbox refuses {fault}");
        }
        pause(self.lasting, stop).await;
        http.delete(&url).send().await?.error_for_status()?;
        Ok(())
    }
}

/// Takes back what the faults have set in RabbitMQ. Each does so itself, but RabbitMQ forgets what it was told a
/// moment before it is killed.
pub(crate) async fn mend_broker(system: &Mutex<System>) -> anyhow::Result<()> {
    let ctl = rabbitmq(system).await;
    // There has to be one to be cleared, and one that changes the queue: RabbitMQ may have forgotten the policy while the
    // queue remembers its limit.
    let set = [
        "set_policy",
        "chaos",
        POLICY_FOR,
        r#"{"max-length":1000000000,"message-ttl":1000000000}"#,
    ];
    rabbitmqctl(&ctl, &[&set[..], &["--apply-to", "queues"]].concat()).await?;
    rabbitmqctl(&ctl, &["clear_policy", "chaos"]).await?;
    rabbitmqctl(&ctl, &["set_vm_memory_high_watermark", "0.4"]).await
}

async fn postgres(system: &Mutex<System>) -> PathBuf {
    system.lock().await.servers.postgres_ctl.clone()
}

async fn rabbitmq(system: &Mutex<System>) -> PathBuf {
    system.lock().await.servers.rabbitmq_ctl.clone()
}

async fn rabbitmqctl(ctl: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let run = Command::new(ctl)
        .arg("ctl")
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(PATIENCE, run)
        .await
        .context("rabbitmqctl does not end")?
        .context("running rabbitmqctl")?;
    ensure!(
        run.status.success(),
        "rabbitmqctl {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}
