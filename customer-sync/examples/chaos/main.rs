//! Chaos with real processes: load on both sides while everything between them is killed, cut, stalled and
//! filled up; then all is healed, and a checker compares what was acknowledged with what both sides hold.
//! scripts/chaos runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use platform::database::Database;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use check::report::{Run, report};
use evidence::tap::{self, Told};
use evidence::{Evidence, Request, database, epochs, stripe};
use history::{History, lock};
use load::{Load, Rates};
use system::settle::settle;
use system::{Servers, System, control};

mod check;
mod evidence;
mod faults;
mod history;
mod load;
mod system;

/// Breaks everything and prints what came of it; exits with 0 only if nothing is lost, undone, doubled,
/// revived, out of order or called twice without a reason.
#[derive(Parser)]
struct Arguments {
    /// How long the load and the faults last
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Fixes what is written and broken, in which order; when that happens stays real
    #[arg(long)]
    seed: u64,
    /// Writes to the API in a second
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Edits by people in Stripe in a second
    #[arg(long, default_value_t = 10.0)]
    people: f64,
    /// How long everything may take to settle once it is healed, in seconds
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Break nothing
    #[arg(long)]
    calm: bool,
    /// Where the logs go; kept only if something was found
    #[arg(long)]
    logs: PathBuf,
    /// The folder of the programs
    #[arg(long, env = "TEST_BIN_DIR")]
    programs: PathBuf,
    #[arg(long, env = "TEST_DATABASE_URL")]
    database_url: String,
    #[arg(long, env = "TEST_AMQP_URL")]
    amqp_url: String,
    #[arg(long, env = "TEST_POSTGRES_CTL")]
    postgres_ctl: PathBuf,
    #[arg(long, env = "TEST_RABBITMQ_CTL")]
    rabbitmq_ctl: PathBuf,
    /// The file that says how far PostgreSQL's clock is off; without it the clock stays right
    #[arg(long, env = "TEST_POSTGRES_CLOCK")]
    postgres_clock: Option<PathBuf>,
    /// The folder where a file `full` fills PostgreSQL's disk; without it there is always space
    #[arg(long, env = "TEST_POSTGRES_DISK")]
    postgres_disk: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Box::pin(chaos(arguments)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("chaos: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the report is what this program is for"
)]
fn say(text: &str) {
    print!("{text}");
}

async fn chaos(arguments: Arguments) -> anyhow::Result<bool> {
    let seed = arguments.seed;
    say(&format!("chaos: seed {seed}\n"));
    let stage = Stage::set(&arguments).await?;
    let end = CancellationToken::new();
    let mut beside = stage.beside(&end);

    let started = Instant::now();
    Box::pin(stage.play(&arguments, seed)).await?;
    let load = started.elapsed();
    let patience = Duration::from_secs(arguments.patience);
    // The connections of before may have died with the server.
    let db = stage.system.lock().await.connect().await?;
    let settled = settle(&db, patience).await;
    drain(&stage.amqp_url).await?;
    end.cancel();
    while beside.join_next().await.is_some() {}

    let evidence = stage.evidence(&db).await?;
    let findings = check::check(&evidence);
    let run = Run {
        seed,
        load,
        settled: *settled.as_ref().unwrap_or(&patience),
        deaths: stage.deaths().await,
    };
    say(&report(&run, &evidence, &findings));
    if !findings.is_clean() {
        let stories = check::stories(&evidence, &findings);
        std::fs::write(arguments.logs.join("stories.txt"), stories)
            .context("writing stories.txt")?;
    }
    settled?;
    Ok(findings.is_clean())
}

/// Everything that a run works with.
struct Stage {
    amqp_url: String,
    db: Database,
    system: Arc<Mutex<System>>,
    history: Arc<History>,
    load: Arc<Load>,
    told: Told,
    requests: Requests,
}

type Requests = Arc<std::sync::Mutex<Vec<Request>>>;

impl Stage {
    /// Starts all that takes part.
    async fn set(arguments: &Arguments) -> anyhow::Result<Self> {
        let servers = Servers {
            database_url: arguments.database_url.clone(),
            amqp_url: arguments.amqp_url.clone(),
            postgres_ctl: arguments.postgres_ctl.clone(),
            rabbitmq_ctl: arguments.rabbitmq_ctl.clone(),
            postgres_clock: arguments.postgres_clock.clone(),
            postgres_disk: arguments.postgres_disk.clone(),
            programs: arguments.programs.clone(),
            logs: arguments.logs.clone(),
        };
        tap::declare(&servers.amqp_url).await?;
        // In good order, so that the queues are on disk: RabbitMQ 3.10 may lose one for good that is new when
        // it is killed, and that is not what this is about.
        control(&servers.rabbitmq_ctl, "restart").await?;
        let mut system = System::prepare(servers).await?;
        system.start_services()?;
        let history = Arc::new(History::default());
        let (apis, sandbox) = (system.apis.clone(), system.sandbox.clone());
        Ok(Self {
            amqp_url: arguments.amqp_url.clone(),
            db: system.connect().await?,
            system: Arc::new(Mutex::new(system)),
            load: Arc::new(Load::new(Arc::clone(&history), apis, sandbox)?),
            history,
            told: Told::default(),
            requests: Requests::default(),
        })
    }

    /// What goes on all the time, until `end`.
    fn beside(&self, end: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let told = Arc::clone(&self.told);
        tasks.spawn(tap::run(self.amqp_url.clone(), told, end.clone()));
        tasks.spawn(attend(Arc::clone(&self.system), end.clone()));
        let (load, requests) = (Arc::clone(&self.load), Arc::clone(&self.requests));
        tasks.spawn(look(self.db.clone(), load, requests, end.clone()));
        tasks
    }

    /// Load and faults, for as long as was asked for. At the end all is whole, and every operation over.
    async fn play(&self, arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let rates = Rates {
            clients: arguments.rate,
            people: arguments.people,
        };
        let mut tasks = JoinSet::new();
        let load = Arc::clone(&self.load).run(seed, rates, stop.clone());
        tasks.spawn(async move {
            load.await;
            Ok(())
        });
        if !arguments.calm {
            let (system, history) = (Arc::clone(&self.system), Arc::clone(&self.history));
            tasks.spawn(faults::run(system, history, seed, stop.clone()));
        }
        let length = Duration::from_secs_f64(arguments.minutes * 60.0);
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            // A fault that cannot be mended ends everything.
            Some(Ok(Err(error))) = tasks.join_next() => return Err(error),
        }
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended.context("making load and faults")??;
        }
        if !arguments.calm {
            faults::mend_broker(&self.system).await?;
        }
        Ok(())
    }

    async fn evidence(&self, db: &Database) -> anyhow::Result<Evidence> {
        let (http, sandbox) = (&self.load.http, &self.load.sandbox);
        let (ops, faults, restores) = self.history.take();
        let mut requests = std::mem::take(&mut *lock(&self.requests));
        let mut seen = requests.last().map_or(0, |request| request.seq);
        loop {
            let more = stripe::requests(http, sandbox, &mut seen).await?;
            if more.is_empty() {
                break;
            }
            requests.extend(more);
        }
        let mut evidence = Evidence {
            ops,
            faults,
            restores,
            rows: database::rows(db).await?,
            conflicts: database::conflicts(db).await?,
            unmatched: database::unmatched(db).await?,
            copies: stripe::copies(http, sandbox).await?,
            events: stripe::events(http, sandbox).await?,
            requests,
            ..Evidence::default()
        };
        let received = std::mem::take(&mut *lock(&self.told));
        epochs::raise(&mut evidence, received, database::source(db).await?)?;
        Ok(evidence)
    }

    async fn deaths(&self) -> u32 {
        let system = self.system.lock().await;
        system.programs.iter().map(|program| program.deaths).sum()
    }
}

/// Starts again what has ended by itself.
async fn attend(system: Arc<Mutex<System>>, end: CancellationToken) {
    while !end.is_cancelled() {
        let mut system = system.lock().await;
        for program in &mut system.programs {
            // A program that cannot be started now is tried again.
            let _ = program.watch();
        }
        drop(system);
        let _ = tokio::time::timeout(Duration::from_secs(1), end.cancelled()).await;
    }
}

/// Tells the load what Stripe has by now, and notes what was asked of it before that is forgotten.
async fn look(db: Database, load: Arc<Load>, requests: Requests, end: CancellationToken) {
    let (mut seen, mut since, mut restores) = (0, None, 0);
    while !end.is_cancelled() {
        // What was believed of the customers may be lost, ids and revs included.
        if restores != load.history.restores() {
            restores = load.history.restores();
            load.subjects.clear();
            since = None;
        }
        // The database may be away.
        let _ = database::show(&db, &load.subjects, &mut since).await;
        if let Ok(more) = stripe::requests(&load.http, &load.sandbox, &mut seen).await {
            lock(&requests).extend(more);
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), end.cancelled()).await;
    }
}

/// Waits until our own consumer has taken all that there is.
async fn drain(amqp_url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while tap::depth(amqp_url, "chaos.tap").await? > 0 {
        anyhow::ensure!(Instant::now() < deadline, "the consumer does not catch up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
