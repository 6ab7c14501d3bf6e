//! customer-sync without its processes: a database, a sandbox and an engine, and every step as a verb
//! that a test calls when it wants it to happen.

mod decide;
pub(crate) mod look;
pub(crate) mod restore;
mod write;

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::fields::Fields;
use entity::message::{DOWNSYNC, Drift, EXCHANGE, QUEUES};
use platform::broker::{Broker, Topology};
use platform::clock::Clock;
use platform::config::Secret;
use platform::health::Health;
use platform::heartbeat::{self, Recorder, Report, Role};
use platform::steps::Steps;
use platform::test_support::{self, TestDatabase};
use platform::wake::Wake;
use sea_orm::DbBackend;
use stripe_sandbox::{Fault, Running, fault::Kind, start};
use sync_worker::downsync::apply::{Applied, apply};
use sync_worker::downsync::events::{self, Polled};
use sync_worker::downsync::inbox::{self, Worked, read_again};
use sync_worker::downsync::pass::{self, Counts};
use sync_worker::downsync::publish::Drifts;
use sync_worker::downsync::scan::{Intervals, Scan, Scanner};
use sync_worker::downsync::{consume, recheck};
use sync_worker::engine::Engine;
use sync_worker::policy::Policy;
use sync_worker::stripe::{Options, Stripe};
use sync_worker::upsync::begin::{Begun, begin_knowing};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::send;
use sync_worker::upsync::{self, Pushed, due, missed};
use sync_worker::{Gauge, LaneState};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const START: i64 = 1_800_000_000;

/// Longer than any back-off of a retry.
pub(crate) const RETRY: Duration = Duration::from_secs(31);

/// An e-mail that Stripe's side may have and a row may not: a part of the domain is too long.
pub(crate) const UNUSABLE_EMAIL: &str =
    "a@a-part-of-a-domain-with-more-than-the-sixty-three-characters-it-may-have.io";

/// What a world is made of, where it is not the usual.
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    /// Of one request to Stripe.
    pub(crate) timeout: Duration,
    /// Ours; on Postgres it is the database's clock that counts.
    pub(crate) clock: Clock,
    pub(crate) sandbox: stripe_sandbox::Options,
}

impl Setup {
    /// With the clocks of the machine.
    pub(crate) fn in_real_time() -> Self {
        let mut setup = Self {
            clock: Clock::system(),
            ..Self::default()
        };
        setup.sandbox.clock = stripe_sandbox::Clock::system();
        setup
    }
}

impl Default for Setup {
    fn default() -> Self {
        let start = DateTime::from_timestamp(START, 0).unwrap();
        Self {
            policy: Policy::default(),
            timeout: Duration::from_secs(10),
            clock: Clock::manual(start),
            sandbox: stripe_sandbox::Options {
                clock: stripe_sandbox::Clock::manual(start),
                seed: Some(1),
                ..stripe_sandbox::Options::default()
            },
        }
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) stripe: Running,
    pub(crate) broker: Broker,
    pub(crate) drifts: Mutex<Drifts>,
    is_manual: bool,
    health: Health,
    /// Applies what the scans publish.
    _tasks: JoinSet<anyhow::Result<()>>,
    database: TestDatabase,
}

impl World {
    /// On SQLite; its clock and Stripe's only move when a verb moves them.
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        Self::on(test_support::sqlite().await, setup).await
    }

    pub(crate) async fn on(database: TestDatabase, setup: Setup) -> Self {
        let stripe = start_sandbox(setup.sandbox).await;
        let world = Self::of(database, stripe, (setup.clock, setup.policy, setup.timeout));
        // The first look sets the cursor and reads no event.
        assert_eq!(world.poll().await, Polled::NeedsPass);
        world.forget_requests();
        world
    }

    /// A worker that starts on both as they are.
    fn of(
        database: TestDatabase,
        stripe: Running,
        (clock, policy, timeout): (Clock, Policy, Duration),
    ) -> Self {
        let is_manual = stripe.sandbox.options().clock.advance(Duration::ZERO);
        let topology = Topology {
            exchange: EXCHANGE,
            queues: &QUEUES,
        };
        let broker = Broker::in_process(&topology);
        let engine = Engine {
            db: database.connection.clone(),
            clock,
            stripe: client(&stripe.url, timeout),
            policy,
            lane: LaneState::default(),
            steps: Steps::default(),
            gauge: Gauge::default(),
        };
        let mut tasks = JoinSet::new();
        let health = Health::new();
        tasks.spawn(consume::run(
            engine.clone(),
            broker.clone(),
            health.component(DOWNSYNC, Duration::from_secs(60)),
            CancellationToken::new(),
        ));
        Self {
            drifts: Mutex::new(Drifts::new(broker.clone())),
            engine,
            stripe,
            broker,
            is_manual,
            health,
            _tasks: tasks,
            database,
        }
    }

    /// Moves all clocks that a test can move.
    pub(crate) fn later(&self, by: Duration) {
        self.engine.clock.advance(by);
        assert!(self.stripe.sandbox.options().clock.advance(by));
    }

    /// No two steps happen in the same microsecond.
    fn tick(&self) {
        if self.is_manual {
            self.engine.clock.advance(Duration::from_millis(1));
        }
    }

    pub(crate) async fn push(&self, id: Uuid) -> Option<Pushed> {
        self.tick();
        upsync::push(&self.engine, id).await.unwrap()
    }

    /// The request of a push that has just read the customer: what happens in Stripe now was not read.
    pub(crate) async fn push_after_read(&self, id: Uuid, meanwhile: impl FnOnce(&Self)) -> Pushed {
        self.tick();
        let Begun::Push(push) = begin_knowing(&self.engine, id, true).await.unwrap() else {
            panic!("the push begins");
        };
        meanwhile(self);
        let sent = send(&self.engine, &push).await.unwrap();
        finish(&self.engine, &push, sent).await.unwrap()
    }

    /// The heartbeats of another worker.
    pub(crate) fn recorder(&self) -> Recorder {
        let (db, clock) = (self.engine.db.clone(), self.engine.clock.clone());
        Recorder::new(db, clock, Role::Worker, Health::new())
    }

    /// A worker was alive at that time for the last time.
    pub(crate) async fn worker_beats_at(&self, at: DateTime<Utc>) {
        let (db, worker) = (&self.engine.db, (Uuid::new_v4(), Role::Worker));
        heartbeat::beat(db, worker, Report::default(), at)
            .await
            .unwrap();
    }

    /// Pushes that are due by now; how many were looked at.
    pub(crate) async fn due(&self) -> u64 {
        self.tick();
        due::run_once(&self.engine).await.unwrap()
    }

    /// Waits for the longest back-off and pushes what is due then.
    pub(crate) async fn retry(&self) -> u64 {
        self.later(RETRY);
        self.due().await
    }

    pub(crate) async fn missed(&self) -> u64 {
        self.tick();
        missed::run_once(&self.engine).await.unwrap()
    }

    pub(crate) async fn poll(&self) -> Polled {
        self.tick();
        events::poll(&self.engine).await.unwrap()
    }

    /// Polls the events and works off the inbox; what that did in all.
    pub(crate) async fn events(&self) -> Worked {
        assert!(matches!(self.poll().await, Polled::New(_)));
        self.inbox().await
    }

    pub(crate) async fn inbox(&self) -> Worked {
        let mut total = Worked::default();
        loop {
            self.tick();
            let mut drifts = self.drifts.lock().await;
            let worked = inbox::run_once(&self.engine, &mut drifts).await.unwrap();
            if worked.events == 0 {
                return total;
            }
            total.events += worked.events;
            total.reads += worked.reads;
            total.drifts += worked.drifts;
        }
    }

    pub(crate) async fn try_pass(&self) -> anyhow::Result<Counts> {
        self.tick();
        let mut drifts = self.drifts.lock().await;
        pass::run_once(&self.engine, &mut drifts, &CancellationToken::new()).await
    }

    pub(crate) async fn pass(&self) -> Counts {
        self.try_pass().await.unwrap()
    }

    /// Reads the customers again whose copy was put aside, once that is due.
    pub(crate) async fn recheck(&self) -> usize {
        self.later(Duration::from_secs(1));
        recheck::run_once(&self.engine).await.unwrap()
    }

    /// Stripe's copy as it is now.
    pub(crate) async fn read(&self, stripe_id: &str) -> Drift {
        self.tick();
        read_again(&self.engine, stripe_id).await.unwrap().unwrap()
    }

    pub(crate) async fn apply(&self, drift: &Drift) -> Applied {
        self.tick();
        apply(&self.engine, drift).await.unwrap()
    }

    /// Everything that the loops of a worker would do until nothing is left to do.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            let pushed = self.retry().await;
            let worked = self.events().await;
            let read = self.recheck().await;
            if pushed == 0 && worked.events == 0 && read == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// The same without a look at Stripe's events, which would tell more.
    pub(crate) async fn settle_without_events(&self) {
        for _ in 0..20 {
            let pushed = self.retry().await;
            if pushed == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// What a scanner works with, that looks at Stripe when it starts and not again for an hour.
    pub(crate) fn scan(&self) -> Scan {
        let intervals = Intervals {
            events: Duration::from_secs(3600),
            full_pass: Duration::from_secs(3600),
        };
        Scan {
            engine: self.engine.clone(),
            broker: self.broker.clone(),
            intervals,
            inbox: Wake::default(),
            health: self.health.component("scan", Duration::from_secs(60)),
            inbox_health: self.health.component("inbox", Duration::from_secs(60)),
        }
    }

    /// A scanner that starts now.
    pub(crate) fn scanner(&self) -> Scanner {
        Scanner::new(&self.scan())
    }

    /// The next request of this kind goes wrong.
    pub(crate) fn fault(&self, on: &str, kind: Kind) {
        self.stripe.sandbox.inject(Fault::once(on, kind));
    }

    /// Every request of this kind goes wrong until [`World::heal`].
    pub(crate) fn faults(&self, on: &str, kind: Kind) {
        self.stripe.sandbox.inject(Fault::always(on, kind));
    }

    pub(crate) fn heal(&self) {
        self.stripe.sandbox.clear_faults();
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.engine.db.get_database_backend() == DbBackend::Sqlite
    }
}

/// Runs a test on SQLite, then on Postgres, whose clock nobody can move.
pub(crate) async fn each_world(test: impl AsyncFn(World)) {
    let on = async |database| {
        let world = Box::pin(World::on(database, Setup::default())).await;
        Box::pin(test(world)).await;
    };
    Box::pin(test_support::each_database(on)).await;
}

async fn start_sandbox(options: stripe_sandbox::Options) -> Running {
    start(options).await.unwrap()
}

/// A client with a rate that no test notices.
pub(crate) fn client(url: &str, timeout: Duration) -> Stripe {
    client_with_key("sk_test_engine", url, timeout)
}

pub(crate) fn client_with_key(key: &str, url: &str, timeout: Duration) -> Stripe {
    let mut options = Options::new(Secret::new(key), url);
    options.timeout = timeout;
    options.rate = 10_000.0;
    options.burst = 1_000;
    Stripe::new(options).unwrap()
}

/// Fields by their names; an empty text is an absent one.
pub(crate) fn fields(named: &[(&str, &str)]) -> Fields {
    with(Fields::default(), named)
}

/// `fields` with some changed.
pub(crate) fn with(mut fields: Fields, named: &[(&str, &str)]) -> Fields {
    for (name, value) in named {
        fields.set(name.parse().unwrap(), Some((*value).to_owned()));
    }
    fields.canonical()
}
