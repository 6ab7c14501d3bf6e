//! What the machines do: each activity is the code of a service, up to its next place.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use entity::message::{Changed, DOWNSYNC, UPSYNC};
use futures_util::FutureExt;
use outbox_relay::{Active, Term};
use platform::broker::{Message, Outcome};
use platform::steps::Place;
use sync_worker::downsync::events::{self, Polled};
use sync_worker::downsync::publish::Drifts;
use sync_worker::downsync::{self, inbox, pass, recheck};
use sync_worker::poison::Watch;
use sync_worker::upsync::{self, due};
use sync_worker::{engine::Engine, purge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Model, world};

/// Who does it, and so who dies with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Relay(usize),
    Worker(usize),
}

pub(super) struct Activity {
    pub(super) process: Process,
    pub(super) name: String,
    future: Pin<Box<dyn Future<Output = Done>>>,
    /// None before it has begun.
    pub(super) place: Option<Place>,
    /// When the push of it began.
    pub(super) begun_at: Instant,
    message: Option<InHand>,
}

struct InHand {
    queue: &'static str,
    message: Message,
    outcome: Pin<Box<dyn Future<Output = Vec<Outcome>>>>,
}

/// What an activity came to.
pub(super) enum Done {
    Said(String, String),
    /// These customers are due.
    Due(Vec<Uuid>),
}

fn said<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, E>) -> Done {
    match result {
        Ok(done) => Done::Said(format!("{done:?}"), String::new()),
        Err(error) => Done::Said("failed".to_owned(), format!("{error:?}")),
    }
}

/// The places in which a push has begun and Stripe may be called.
const IN_SEND: [&str; 2] = ["push: begun", "send: looked"];

/// Longer than a push lives; whoever finds it after this finds its process dead.
const PUSH_LIMIT: Duration = Duration::from_secs(45);

impl Activity {
    /// Whether it is in a call that nobody waits for any more.
    pub(super) fn has_outlived_its_push(&self, now: Instant) -> bool {
        self.is_sending() && now - self.begun_at > PUSH_LIMIT
    }

    pub(super) fn is_sending(&self) -> bool {
        self.place
            .is_some_and(|place| IN_SEND.contains(&place.name))
    }

    pub(super) fn is_of(&self, kind: &str) -> bool {
        self.name.starts_with(kind)
    }
}

impl Model {
    pub(super) fn engine(&self, worker: usize) -> Engine {
        self.world.workers[worker].clone()
    }

    fn begin(
        &mut self,
        process: Process,
        name: String,
        future: impl Future<Output = Done> + 'static,
    ) {
        match name.split(' ').next() {
            Some("push" | "apply" | "due") => self.ledger.single += 1,
            Some("events" | "pass" | "recheck") => self.ledger.looks += 1,
            _ => {}
        }
        self.activities.push(Activity {
            process,
            name,
            future: Box::pin(future),
            place: None,
            begun_at: self.world.now(),
            message: None,
        });
    }

    /// A message reaches a worker. Where the lane stands still, nobody takes it.
    pub(super) async fn deliver(&mut self, worker: usize, queue: &'static str, message: Message) {
        let engine = self.engine(worker);
        if queue == UPSYNC && engine.lane.stopped().is_some() {
            return self.bag.put(queue, message);
        }
        let mut publisher = self.world.outbound.publisher().await.unwrap();
        let mut consumer = self.world.outbound.consumer(queue, 1).await.unwrap();
        let copy = message.clone();
        let mut outcome: Pin<Box<dyn Future<Output = Vec<Outcome>>>> =
            Box::pin(async move { publisher.publish(queue, vec![copy]).await });
        assert!(outcome.as_mut().now_or_never().is_none());
        let delivery = consumer.next().await.unwrap();
        let health = self
            .world
            .health
            .component("worker", Duration::from_secs(60));
        let stop = CancellationToken::new();
        if queue == UPSYNC {
            let changed: Changed = serde_json::from_slice(&message.body).unwrap();
            let name = format!("push {} by message", self.called(changed.id));
            self.begin(Process::Worker(worker), name, async move {
                upsync::consume::handle(engine, delivery, (health, stop)).await;
                drop(consumer);
                Done::Said(String::new(), String::new())
            });
        } else {
            let name = format!("apply {}", message.subject);
            self.begin(Process::Worker(worker), name, async move {
                let watch = Watch::of(&engine, "drift").await.unwrap();
                let applied =
                    downsync::consume::handle(&engine, delivery, watch, (&health, &stop)).await;
                drop(consumer);
                said(applied)
            });
        }
        let begun = self.activities.last_mut().expect("it was begun above");
        begun.message = Some(InHand {
            queue,
            message,
            outcome,
        });
    }

    pub(super) fn due(&mut self, worker: usize) {
        let engine = self.engine(worker);
        if engine.lane.stopped().is_some() {
            // It has rested long enough.
            engine.lane.hold();
        }
        self.begin(Process::Worker(worker), "due".to_owned(), async move {
            match due::find(&engine).await {
                Ok(due) => Done::Due(due.into_iter().map(|due| due.customer_id).collect()),
                failed => said(failed.map(|due| due.len())),
            }
        });
    }

    pub(super) fn push(&mut self, worker: usize, customer_id: Uuid) {
        let engine = self.engine(worker);
        let name = format!("push {} that is due", self.called(customer_id));
        self.begin(Process::Worker(worker), name, async move {
            said(upsync::push(&engine, customer_id).await)
        });
    }

    pub(super) fn scan(&mut self, worker: usize) {
        let engine = self.engine(worker);
        let mut drifts = Drifts::new(self.world.inbound.broker.clone());
        self.begin(Process::Worker(worker), "events".to_owned(), async move {
            let polled = match events::poll(&engine).await {
                Ok(polled) => polled,
                failed => return said(failed),
            };
            let mut worked = Vec::new();
            loop {
                match inbox::run_once(&engine, &mut drifts).await {
                    Ok(round) if round.events == 0 => break,
                    Ok(round) => worked.push(round),
                    failed => return said(failed),
                }
            }
            if polled == Polled::NeedsPass {
                let stop = CancellationToken::new();
                return said(pass::run_once(&engine, &mut drifts, &stop).await);
            }
            said(Ok::<_, ()>((polled, worked)))
        });
    }

    /// The first poll of an installation, which sets the cursor.
    pub(super) fn poll(&mut self, worker: usize) {
        let engine = self.engine(worker);
        self.begin(Process::Worker(worker), "events".to_owned(), async move {
            said(events::poll(&engine).await)
        });
    }

    pub(super) fn pass(&mut self, worker: usize) {
        let engine = self.engine(worker);
        let mut drifts = Drifts::new(self.world.inbound.broker.clone());
        self.begin(Process::Worker(worker), "pass".to_owned(), async move {
            let stop = CancellationToken::new();
            said(pass::run_once(&engine, &mut drifts, &stop).await)
        });
    }

    pub(super) fn recheck(&mut self, worker: usize) {
        let engine = self.engine(worker);
        self.begin(Process::Worker(worker), "recheck".to_owned(), async move {
            said(recheck::run_once(&engine).await)
        });
    }

    pub(super) fn purge(&mut self, worker: usize) {
        let engine = self.engine(worker);
        self.begin(Process::Worker(worker), "purge".to_owned(), async move {
            said(purge::run_once(&engine).await)
        });
    }

    /// A relay that gets the lease publishes what there is.
    pub(super) fn relay(&mut self, relay: usize) {
        let (handle, lease) = self.world.relays[relay].clone();
        self.begin(Process::Relay(relay), "relay".to_owned(), async move {
            let term = match Term::take(&handle, &lease).await {
                Ok(Some(term)) => term,
                other => return said(other.map(|_| "another one has the lease")),
            };
            let mut active = Active::new(&handle, &term);
            let mut confirmed = 0;
            loop {
                match active.run_once().await {
                    Ok(counts) => confirmed += counts.confirmed,
                    failed => return said(failed),
                }
                match active.run_once().await {
                    Ok(counts) if counts.read == 0 => break,
                    Ok(counts) if counts.confirmed == 0 => break,
                    Ok(counts) => confirmed += counts.confirmed,
                    failed => return said(failed),
                }
            }
            said(active.finish().await.map(|()| confirmed))
        });
    }

    /// A message that came as the lane stopped waits, as those in the queue do.
    fn waits_for_the_lane(&self, at: usize) -> bool {
        let activity = &self.activities[at];
        let is_change = activity
            .message
            .as_ref()
            .is_some_and(|message| message.queue == UPSYNC);
        let is_stopped = match activity.process {
            Process::Worker(worker) => self.world.workers[worker].lane.stopped().is_some(),
            Process::Relay(_) => false,
        };
        is_change && is_stopped && activity.place.is_none()
    }

    /// Lets an activity go on to its next place; the places before a commit are passed, or cut.
    pub(super) async fn go_on(&mut self, at: usize, may_cut: bool) {
        if self.waits_for_the_lane(at) {
            return self.cut(at, "while the lane stands still");
        }
        loop {
            let place = self.run(at).await;
            let is_cut =
                |model: &mut Self| may_cut && rand::RngExt::random_bool(&mut model.rng, 0.06);
            match place {
                Some(place) if place.in_transaction => {
                    if is_cut(self) {
                        return self.cut(at, "before its commit");
                    }
                }
                _ => return,
            }
        }
    }

    /// Runs an activity alone to its next place. None when it has ended.
    async fn run(&mut self, at: usize) -> Option<Place> {
        let Self {
            world,
            bag,
            rng,
            activities,
            ..
        } = self;
        let activity = &mut activities[at];
        if activity.place.is_some() {
            world.gate.open();
        }
        let reached = loop {
            let inbound = &mut world.inbound;
            let (queue, delivery) = tokio::select! {
                biased;
                done = &mut activity.future => break Err(done),
                place = world.gate.reached() => break Ok(place),
                delivery = inbound.changes.next() => (UPSYNC, delivery),
                delivery = inbound.drifts.next() => (DOWNSYNC, delivery),
                () = tokio::time::sleep(Duration::from_secs(60)) => panic!("{} hangs", activity.name),
            };
            bag.take(queue, delivery.unwrap(), rng).await;
        };
        match reached {
            Ok(place) => {
                activity.place = Some(place);
                if place.name == "push: begun" {
                    activity.begun_at = world.now();
                }
                let what = format!("  {} at {}", activity.name, place.name);
                self.note(what);
                if !place.in_transaction {
                    self.notice();
                    self.assert_published().await;
                }
                Some(place)
            }
            Err(done) => {
                self.world.gate.close();
                self.notice();
                self.assert_published().await;
                self.ended(at, done);
                None
            }
        }
    }

    fn ended(&mut self, at: usize, done: Done) {
        let activity = self.activities.remove(at);
        let (name, process) = (activity.name.clone(), activity.process);
        self.give_back(activity);
        match done {
            Done::Said(what, detail) => self.note_with(format!("  {name} ended: {what}"), detail),
            Done::Due(due) => {
                self.note(format!("  {} customers are due", due.len()));
                let Process::Worker(worker) = process else {
                    return;
                };
                for customer_id in due {
                    self.push(worker, customer_id);
                }
            }
        }
    }

    /// The process dies there, or only this task of it.
    pub(super) fn cut(&mut self, at: usize, how: &str) {
        let activity = self.activities.remove(at);
        self.ledger.cuts += 1;
        self.note(format!("  {} is cut {how}", activity.name));
        self.world.gate.close();
        self.give_back(activity);
    }

    /// What was not acknowledged is delivered again.
    fn give_back(&mut self, activity: Activity) {
        let Activity {
            future, message, ..
        } = activity;
        drop(future);
        let Some(hand) = message else {
            return;
        };
        let outcome = hand.outcome.now_or_never();
        if outcome != Some(vec![Outcome::Confirmed]) {
            self.bag.put(hand.queue, hand.message);
        }
    }

    /// A process dies with all that it does, and starts again.
    pub(super) async fn restart(&mut self, process: Process) {
        while let Some(at) = self
            .activities
            .iter()
            .position(|one| one.process == process)
        {
            self.cut(at, "by the end of its process");
        }
        match process {
            Process::Relay(relay) => self.world.relays[relay].1 = world::lease(),
            Process::Worker(worker) => {
                let engine = &mut self.world.workers[worker];
                engine.lane = sync_worker::LaneState::default();
                engine.lane.hold();
                if self.world.is_alone() {
                    due::forget_dead_pushes(&self.world.workers[worker])
                        .await
                        .unwrap();
                }
            }
        }
    }
}
