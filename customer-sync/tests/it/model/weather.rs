//! What befalls the machines: faults, requests that arrive late, time, and restarts.

use std::time::Duration;

use entity::stripe_link::{Column, Entity};
use rand::RngExt;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use stripe_sandbox::Fault;
use stripe_sandbox::fault::{Kind, Reason, Shows};

use super::Model;
use super::work::Process;

/// Nobody keeps a request for longer.
const LONGEST_WAY: Duration = Duration::from_secs(3600);

impl Model {
    /// Arms what will strike the next request to Stripe.
    pub(super) fn strike(&mut self, at: usize) -> u64 {
        let should_retry = self.any(&[None, None, Some(true), Some(false)]).unwrap();
        let shown = [Shows::OtherObject, Shows::OtherMode, Shows::Nothing];
        let shows = self.any(&shown).unwrap();
        let kinds = [
            Kind::ResetAfterEffect,
            Kind::ResetAfterEffect,
            Kind::ResetBeforeEffect,
            Kind::DeliveredLate,
            Kind::DeliveredLate,
            Kind::GatewayErrorAfterEffect,
            Kind::GatewayErrorBeforeEffect,
            Kind::GarbledBody,
            Kind::EmptyBody,
            Kind::TruncatedBody,
            Kind::ErrorAfterEffect { should_retry },
            Kind::ErrorBeforeEffect { should_retry },
            Kind::MismatchedResponse { shows },
            Kind::OtherModeKey,
            Kind::LockTimeout,
            Kind::Unauthorized,
            Kind::Forbidden,
            Kind::RateLimited {
                reason: Reason::EndpointRate,
            },
        ];
        // A list that a customer is looked for in has no such faults.
        let of_lists = [
            Kind::LostItem,
            Kind::DuplicateItem,
            Kind::ShuffledPage,
            Kind::EmptyPage,
            Kind::RepeatedPage,
            Kind::BrokenItem,
            Kind::ShortPage { limit: 1 },
        ];
        let activity = &self.activities[at];
        let reads_a_list = match activity.place {
            Some(place) => place.name == "pass: page",
            None => activity.is_of("events"),
        };
        let kind = match reads_a_list && self.rng.random_bool(0.7) {
            true => self.any(&of_lists).unwrap(),
            false => self.any(&kinds).unwrap(),
        };
        let sandbox = &self.world.sandbox.sandbox;
        sandbox.inject(Fault::once("*", kind))
    }

    /// The fault has struck, or there was nothing to strike.
    pub(super) fn struck(&mut self, fault: u64) {
        let sandbox = &self.world.sandbox.sandbox;
        let armed = sandbox.faults().into_iter().find(|armed| armed.id == fault);
        sandbox.remove_fault(fault);
        if let Some(armed) = armed.filter(|armed| armed.hits > 0) {
            self.ledger.faults += 1;
            self.note(format!("    struck by {:?}", armed.fault.kind));
        }
    }

    /// Stripe is away for everybody, or back again.
    pub(super) fn outage(&mut self) {
        let sandbox = &self.world.sandbox.sandbox;
        if !sandbox.faults().is_empty() {
            sandbox.clear_faults();
            return self.note("Stripe is back".to_owned());
        }
        let kinds = [
            Kind::GatewayErrorBeforeEffect,
            Kind::Unauthorized,
            Kind::ResetBeforeEffect,
            Kind::OtherModeKey,
        ];
        let kind = self.any(&kinds).unwrap();
        self.note(format!("Stripe is away: {kind:?}"));
        self.world.sandbox.sandbox.inject(Fault::always("*", kind));
    }

    /// The broker goes away, or comes back; or a queue is purged.
    pub(super) fn broker(&mut self) {
        if !self.bag.is_away && self.rng.random_bool(0.2) {
            let lost = self.bag.lose_all();
            return self.note(format!("{lost} messages are purged"));
        }
        self.bag.is_away = !self.bag.is_away;
        let what = if self.bag.is_away { "away" } else { "back" };
        self.note(format!("the broker is {what}"));
    }

    /// A request arrives for which nobody waits any more.
    pub(super) async fn arrive_late(&mut self) {
        let Some(what) = self.world.sandbox.sandbox.deliver_late().await else {
            return;
        };
        self.ledger.late += 1;
        self.note(format!("arrives late: {what}"));
        let customers = self.world.sandbox.sandbox.customers();
        for customer in &customers {
            self.ledger.shown_by_request(customer);
        }
    }

    pub(super) async fn pass_time(&mut self) {
        let milliseconds = match self.rng.random_range(0..100) {
            0..60 => self.rng.random_range(100..15_000),
            60..85 => self.rng.random_range(60_000..600_000),
            85..97 => self.rng.random_range(3_600_000..18_000_000),
            _ => self.rng.random_range(82_800_000..260_000_000),
        };
        let time = Duration::from_millis(milliseconds);
        self.note(format!("{time:?} pass"));
        self.world.later(time);
        if time >= LONGEST_WAY {
            self.world.sandbox.sandbox.forget_late();
            // No process stands still for so long in the middle of a call.
            while let Some(at) = self.activities.iter().position(|one| one.is_sending()) {
                self.cut(at, "by the time");
            }
        }
    }

    /// The clock of the database's machine is set forward or back; no time passes.
    pub(super) fn step_clock(&mut self) {
        let milliseconds = match self.rng.random_bool(0.8) {
            true => self.rng.random_range(-600_000..600_000),
            false => self.rng.random_range(-3_000_000..86_400_000),
        };
        let step = chrono::TimeDelta::milliseconds(milliseconds);
        self.note(format!("the clock steps by {step}"));
        self.world.clock.step(step);
    }

    pub(super) async fn restart_any(&mut self) {
        let workers = self.world.workers.len();
        let at = self.rng.random_range(0..workers);
        let both = self.rng.random_bool(0.3);
        self.note(format!("a restart of {at}, both {both}"));
        if both || self.rng.random_bool(0.5) {
            self.restart(Process::Relay(at)).await;
        }
        if both || self.rng.random_bool(0.5) {
            self.restart(Process::Worker(at)).await;
        }
    }

    /// The code chooses random times for its retries, so that customers don't come back together; here the seed
    /// chooses them.
    pub(super) async fn settle_jitter(&mut self) {
        let db = &self.world.db;
        let waiting = Entity::find()
            .filter(Column::NextAttemptAt.is_not_null())
            .filter(Column::PushToken.is_null());
        let mut waiting = waiting.all(db).await.unwrap();
        // Ids of rows are another play's others; the order of creation and Stripe's ids are the same.
        waiting.sort_by_key(|link| (self.rows.get(&link.customer_id), link.stripe_id.clone()));
        for link in waiting {
            let jittered = link.next_attempt_at.filter(|at| *at > link.updated_at);
            let settled = self.settled.get(&link.customer_id);
            if jittered.is_none() || jittered.as_ref() == settled {
                continue;
            }
            let rest = chrono::Duration::milliseconds(self.rng.random_range(1_000..30_000));
            let settled = link.updated_at + rest;
            self.settled.insert(link.customer_id, settled);
            Entity::update_many()
                .col_expr(Column::NextAttemptAt, Expr::value(settled))
                .filter(Column::CustomerId.eq(link.customer_id))
                .exec(db)
                .await
                .unwrap();
        }
    }
}
