//! The end of all trouble: the network heals, dead processes are replaced, and what is due is done.

use std::time::Duration;

use entity::message::{DOWNSYNC, UPSYNC};
use entity::{outbox, stripe_event, stripe_link, unmatched};
use rand::RngExt;
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter};

use super::Model;
use super::work::Process;

/// More rounds than what is left at the end may take.
const ROUNDS: usize = 60;

impl Model {
    pub(super) async fn heal(&mut self) -> Result<(), String> {
        self.moment += 1;
        self.note("all heals".to_owned());
        self.world.sandbox.sandbox.clear_faults();
        self.bag.is_away = false;
        self.bag.is_well = true;
        while !self.activities.is_empty() {
            let now = self.world.now();
            let is_dead = self.activities[0].has_outlived_its_push(now);
            match is_dead || self.rng.random_bool(0.3) {
                true => self.cut(0, "for good"),
                false => self.go_on(0, false).await,
            }
        }
        while self.world.sandbox.sandbox.late_count() > 0 {
            // Upon what people have edited in Stripe by then, or after that was read.
            if self.rng.random_bool(0.5) {
                self.drain().await?;
            }
            self.arrive_late().await;
        }
        for worker in 0..self.world.workers.len() {
            self.restart(Process::Relay(worker)).await;
            self.restart(Process::Worker(worker)).await;
        }
        self.world.later(Duration::from_secs(3600));
        // The first pass finds what nobody told of, the others what was freed by the one before.
        for _ in 0..3 {
            self.drain().await?;
            self.full_pass().await;
        }
        self.drain().await
    }

    pub(super) async fn full_pass(&mut self) {
        // A copy that is no newer than the last one proves nothing.
        self.world.later(Duration::from_secs(1));
        self.pass(0);
        self.finish_all().await;
    }

    /// Everything that the loops of the services would do until nothing is left to do.
    pub(super) async fn drain(&mut self) -> Result<(), String> {
        let mut waiting = None;
        for _ in 0..ROUNDS {
            self.moment += 1;
            self.world.later(Duration::from_secs(61));
            self.settle_jitter().await;
            let writes = self.ledger.writes;
            self.relay(0);
            self.finish_all().await;
            let mut messages = 0;
            for queue in [UPSYNC, DOWNSYNC] {
                for message in self.bag.all(queue) {
                    messages += 1;
                    self.deliver(0, queue, message).await;
                    self.finish_all().await;
                }
            }
            for begin in [Self::due, Self::scan, Self::recheck] {
                begin(self, 0);
                self.finish_all().await;
            }
            waiting = self.waiting().await;
            if messages == 0 && writes == self.ledger.writes && waiting.is_none() {
                return Ok(());
            }
        }
        Err(format!("it does not come to rest: {waiting:?}"))
    }

    pub(super) async fn finish_all(&mut self) {
        while !self.activities.is_empty() {
            self.go_on(0, false).await;
        }
    }

    /// What waits for somebody.
    async fn waiting(&self) -> Option<String> {
        let db = &self.world.db;
        let rows = outbox::Entity::find().count(db).await.unwrap();
        let waiting = Condition::any()
            .add(stripe_link::Column::NextAttemptAt.is_not_null())
            .add(stripe_link::Column::RecheckAt.is_not_null());
        let link = stripe_link::Entity::find().filter(waiting).one(db).await;
        let unread = stripe_event::Column::ProcessedAt.is_null();
        let events = stripe_event::Entity::find().filter(unread).count(db);
        let rereads = unmatched::Entity::find()
            .filter(unmatched::Column::RecheckAt.is_not_null())
            .count(db);
        let (link, events) = (link.unwrap(), events.await.unwrap());
        let rereads = rereads.await.unwrap();
        let is_idle = rows == 0 && events == 0 && rereads == 0 && link.is_none();
        (!is_idle).then(|| {
            format!("{rows} outbox rows, {events} events, {rereads} unmatched, at least {link:?}")
        })
    }
}
