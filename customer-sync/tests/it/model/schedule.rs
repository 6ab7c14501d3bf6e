//! Who goes on, and who begins.

use std::time::Duration;

use entity::message::{DOWNSYNC, UPSYNC};
use rand::RngExt;

use super::work::Process;
use super::{DECISIONS, Model};

/// Activities that stand side by side at most.
const SIDE_BY_SIDE: usize = 8;

impl Model {
    pub(super) async fn schedule(&mut self) {
        // The one that stays.
        let named = [("email", "nobody@x.io")];
        let nobody = self.world.sandbox.sandbox.create_as_human(&named).unwrap();
        self.ledger.shown_by_person(&nobody, 0, None);
        // From here on the events report every change.
        self.poll(0);
        self.finish_all().await;
        for _ in 0..DECISIONS {
            self.moment += 1;
            self.world.later(Duration::from_millis(1));
            let is_full = self.activities.len() >= SIDE_BY_SIDE;
            if !self.activities.is_empty() && (is_full || self.rng.random_bool(0.6)) {
                self.somebody_goes_on().await;
            } else {
                self.something_happens().await;
            }
            self.settle_jitter().await;
        }
    }

    async fn somebody_goes_on(&mut self) {
        let at = self.rng.random_range(0..self.activities.len());
        if self.activities[at].has_outlived_its_push(self.world.now()) {
            return self.cut(at, "because its push took too long");
        }
        if self.rng.random_bool(0.03) {
            return self.cut(at, "there");
        }
        let fault = self.rng.random_bool(0.15).then(|| self.strike(at));
        self.go_on(at, true).await;
        if let Some(fault) = fault {
            self.struck(fault);
        }
    }

    async fn something_happens(&mut self) {
        let worker = self.rng.random_range(0..self.world.workers.len());
        match self.rng.random_range(0..1000) {
            0..50 => self.create_here().await,
            50..200 => self.edit_here().await,
            200..210 => self.swap_here().await,
            210..225 => self.delete_here().await,
            225..255 => self.create_there(),
            255..385 => self.edit_there().await,
            385..395 => self.swap_there().await,
            395..405 => self.delete_there().await,
            405..412 => self.meddle_there().await,
            412..530 => self.relay_begins(worker),
            530..660 => self.message_arrives(worker, UPSYNC).await,
            660..710 => self.message_arrives(worker, DOWNSYNC).await,
            710..750 => self.due(worker),
            750..810 => self.scan(worker),
            810..850 => self.recheck(worker),
            850..862 => self.pass(worker),
            862..865 => self.purge(worker),
            865..935 => self.pass_time().await,
            935..965 => self.arrive_late().await,
            965..975 => self.outage(),
            975..985 => self.broker(),
            985..991 => self.step_clock(),
            _ => self.restart_any().await,
        }
    }

    fn relay_begins(&mut self, relay: usize) {
        let process = Process::Relay(relay);
        if !self.activities.iter().any(|one| one.process == process) {
            self.relay(relay);
        }
    }

    async fn message_arrives(&mut self, worker: usize, queue: &'static str) {
        if let Some(message) = self.bag.draw(queue, &mut self.rng) {
            self.deliver(worker, queue, message).await;
        }
    }
}
