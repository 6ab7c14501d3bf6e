//! Everything that takes part: PostgreSQL, RabbitMQ and the sandbox, two of each service, and a proxy of our
//! own on each link between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use platform::config::Secret;
use platform::database::{self, Database};
use sea_orm::ConnectionTrait;
use tokio::process::Command;

pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod settle;

use program::Program;
use proxy::Proxy;

/// What scripts/chaos hands over.
pub(crate) struct Servers {
    pub(crate) database_url: String,
    pub(crate) amqp_url: String,
    pub(crate) postgres_ctl: PathBuf,
    pub(crate) rabbitmq_ctl: PathBuf,
    /// Holds how far PostgreSQL's clock is off, in seconds.
    pub(crate) postgres_clock: Option<PathBuf>,
    /// A file `full` in it fills PostgreSQL's disk.
    pub(crate) postgres_disk: Option<PathBuf>,
    /// The folder of the programs.
    pub(crate) programs: PathBuf,
    pub(crate) logs: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    RabbitMq,
    Stripe,
}

/// One process's way to one server.
pub(crate) struct Link {
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
}

pub(crate) struct System {
    pub(crate) servers: Servers,
    pub(crate) programs: Vec<Program>,
    pub(crate) links: Vec<Link>,
    /// Past every proxy.
    pub(crate) database_url: Secret,
    pub(crate) apis: Vec<String>,
    pub(crate) sandbox: String,
    _sandbox_process: Program,
}

/// So many of each service.
const REPLICAS: usize = 2;
/// Far more than the load asks for, so that the rate is not what is measured.
const STRIPE_RATE: &str = "5000";

impl System {
    /// Starts everything but the services, and prepares those.
    pub(crate) async fn prepare(servers: Servers) -> anyhow::Result<Self> {
        let (base, name) = servers
            .database_url
            .rsplit_once('/')
            .context("TEST_DATABASE_URL names no database")?;
        ensure!(name != "chaos", "the database chaos is made by this run");
        let admin = database::connect(&Secret::new(&servers.database_url), 1).await?;
        admin.execute_unprepared("CREATE DATABASE chaos").await?;
        let url = format!("{base}/chaos");
        migrate(&servers.programs, &url).await?;
        let listen = free_address()?;
        let mut sandbox = Program::new(
            "stripe-sandbox",
            (&servers.programs, &servers.logs),
            "stripe-sandbox",
            &[
                ("SANDBOX_LISTEN", listen.to_string()),
                ("RUST_LOG", "warn".to_owned()),
            ],
        );
        sandbox.start()?;
        let mut system = Self {
            servers,
            programs: Vec::new(),
            links: Vec::new(),
            database_url: Secret::new(&url),
            apis: Vec::new(),
            sandbox: format!("http://{listen}"),
            _sandbox_process: sandbox,
        };
        for number in 1..=REPLICAS {
            system.add_services(number, &url, listen).await?;
        }
        Ok(system)
    }

    async fn add_services(
        &mut self,
        number: usize,
        database_url: &str,
        sandbox: SocketAddr,
    ) -> anyhow::Result<()> {
        let listen = free_address()?;
        let settings = [
            ("API_LISTEN", listen.to_string()),
            self.database(database_url).await?,
        ];
        self.add("api", number, &settings);
        self.apis.push(format!("http://{listen}"));
        let settings = [
            ("ADMIN_LISTEN", free_address()?.to_string()),
            self.database(database_url).await?,
            self.broker().await?,
        ];
        self.add("outbox-relay", number, &settings);
        let stripe = self.link(Server::Stripe, sandbox).await?;
        let text = |text: &str| text.to_owned();
        let settings = [
            ("ADMIN_LISTEN", free_address()?.to_string()),
            self.database(database_url).await?,
            self.broker().await?,
            ("SANDBOX_LISTEN", stripe.to_string()),
            ("STRIPE_SANDBOX", text("true")),
            ("STRIPE_RATE", text(STRIPE_RATE)),
            ("STRIPE_TIMEOUT", text("5s")),
            ("DOWNSYNC_INTERVAL", text("500ms")),
            ("FULL_PASS_INTERVAL", text("15s")),
            // People delete customers here all the time, and a pass may find many at once.
            ("MAX_DELETES", text("1000000")),
            ("MAX_DELETE_PERCENT", text("100")),
        ];
        self.add("sync-worker", number, &settings);
        Ok(())
    }

    fn add(&mut self, program: &str, number: usize, settings: &[(&str, String)]) {
        let mut settings = settings.to_vec();
        settings.push(("LOG", "info,sqlx=error".to_owned()));
        let folders = (&*self.servers.programs, &*self.servers.logs);
        self.programs.push(Program::new(
            &format!("{program}-{number}"),
            folders,
            program,
            &settings,
        ));
    }

    async fn database(&mut self, url: &str) -> anyhow::Result<(&'static str, String)> {
        let server = authority(url)?;
        let link = self.link(Server::Postgres, server).await?;
        let url = url.replace(&server.to_string(), &link.to_string());
        Ok(("DATABASE_URL", url))
    }

    async fn broker(&mut self) -> anyhow::Result<(&'static str, String)> {
        let url = self.servers.amqp_url.clone();
        let server = authority(&url)?;
        let link = self.link(Server::RabbitMq, server).await?;
        let url = url.replace(&server.to_string(), &link.to_string());
        Ok(("AMQP_URL", url))
    }

    async fn link(&mut self, server: Server, address: SocketAddr) -> anyhow::Result<SocketAddr> {
        let proxy = Proxy::start(address).await?;
        let address = proxy.address;
        self.links.push(Link { server, proxy });
        Ok(address)
    }

    /// A connection of our own to the database.
    pub(crate) async fn connect(&self) -> anyhow::Result<Database> {
        Ok(database::connect(&self.database_url, 4).await?)
    }

    pub(crate) fn start_services(&mut self) -> anyhow::Result<()> {
        self.programs.iter_mut().try_for_each(Program::start)
    }
}

async fn migrate(programs: &Path, url: &str) -> anyhow::Result<()> {
    let run = Command::new(programs.join("migration"))
        .arg("up")
        .env("DATABASE_URL", url)
        .output()
        .await
        .context("running the migration")?;
    ensure!(
        run.status.success(),
        "the migration failed: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}

/// Starts, stops, restarts or kills a throwaway server, and waits until that is done.
pub(crate) async fn control(ctl: &Path, what: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(240);
    let run = Command::new(ctl).arg(what).kill_on_drop(true).output();
    let run = tokio::time::timeout(PATIENCE, run)
        .await
        .with_context(|| format!("{} {what} does not end", ctl.display()))?
        .with_context(|| format!("running {}", ctl.display()))?;
    ensure!(
        run.status.success(),
        "{} {what}: {}",
        ctl.display(),
        String::from_utf8_lossy(&run.stderr)
    );
    Ok(())
}

/// The host and port of a URL that has both.
fn authority(url: &str) -> anyhow::Result<SocketAddr> {
    let after = url.split("://").nth(1).unwrap_or_default();
    let authority = after.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.parse()
        .context("a throwaway server's URL names no address and port")
}

/// An address that nobody listens on.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    listener.local_addr().context("reading a free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_url_is_found_behind_its_user() {
        for url in [
            "postgres://test@127.0.0.1:5432/postgres",
            "amqp://guest:guest@127.0.0.1:5432/%2f",
        ] {
            assert_eq!(authority(url).unwrap().port(), 5432);
        }
        assert!(authority("sqlite::memory:").is_err());
    }
}
