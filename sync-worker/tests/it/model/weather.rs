//! What machines do in a model: steps at random times, faults, crashes, and the end of them all.

use std::time::Duration;

use entity::outbox;
use rand::RngExt;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use stripe_sandbox::fault::{Kind, Reason};
use sync_worker::downsync::{events, inbox, recheck};
use sync_worker::outcome::Operation;
use sync_worker::stripe::{Failure, FailureKind, Lane};
use sync_worker::upsync::begin::{Begun, Push, Request, begin};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::{Sent, send};
use uuid::Uuid;

use super::Model;

const ROUTES: [&str; 6] = [
    "POST /v1/customers",
    "POST /v1/customers/{id}",
    "DELETE /v1/customers/{id}",
    "GET /v1/customers/{id}",
    "GET /v1/customers",
    "GET /v1/events",
];

impl Model {
    /// A message arrives, in any order; sometimes it comes again, sometimes never.
    pub(super) async fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.messages.len());
        let id = match self.rng.random_range(0..10) {
            0 => self.messages[place],
            _ => self.messages.swap_remove(place),
        };
        self.settle_outbox(id).await;
        if self.rng.random_bool(0.9) {
            let pushed = self.world.push(id).await;
            self.note(format!("push {id}: {pushed:?}"));
        }
    }

    async fn settle_outbox(&self, id: Uuid) {
        outbox::Entity::delete_many()
            .filter(outbox::Column::CustomerId.eq(id))
            .exec(&self.world.engine.db)
            .await
            .unwrap();
    }

    pub(super) async fn due(&mut self) {
        // The lane has rested: an answer without Stripe's words may have stopped it.
        self.world.engine.lane.resume();
        let pushed = self.world.due().await;
        self.note(format!("due: {pushed}"));
    }

    /// As the scanner does it: what fails comes again.
    pub(super) async fn events(&mut self) {
        let polled = events::poll(&self.world.engine).await;
        let mut drifts = self.world.drifts.lock().await;
        let worked = inbox::run_once(&self.world.engine, &mut drifts).await;
        drop(drifts);
        self.note(format!("events: {polled:?} {worked:?}"));
    }

    pub(super) async fn pass(&mut self) {
        let counts = self.world.try_pass().await;
        self.note(format!("pass: {counts:?}"));
    }

    pub(super) async fn recheck(&mut self) {
        let looked = recheck::run_once(&self.world.engine).await;
        self.note(format!("recheck: {looked:?}"));
    }

    /// A copy is read that will be applied later, perhaps much later.
    pub(super) async fn read(&mut self) {
        let customers = self.world.stripe.sandbox.customers();
        let Some(customer) = self.any(&customers) else {
            return;
        };
        let stripe_id = customer["id"].as_str().unwrap();
        let read = inbox::read_again(&self.world.engine, stripe_id).await;
        self.copies.extend(read.ok().flatten());
    }

    pub(super) async fn apply(&mut self) {
        let Some(drift) = self.any(&self.copies.clone()) else {
            return;
        };
        let applied = self.world.apply(&drift).await;
        self.note(format!("apply {}: {applied:?}", drift.copy.stripe_id));
    }

    /// A process begins a push, perhaps sends it, and is not heard of for a while.
    pub(super) async fn begin(&mut self) {
        if let Some(push) = self.begun().await {
            let is_sent = self.rng.random_bool(0.6);
            self.note(format!("begin {} sent {is_sent}", push.customer_id));
            let sent = match is_sent {
                true => Some(send(&self.world.engine, &push).await.unwrap()),
                false => None,
            };
            self.pushes.push((push, sent));
        }
    }

    /// It goes on, unless it was dead.
    pub(super) async fn go_on(&mut self) {
        let Some((push, sent)) = self.pushes.pop() else {
            return;
        };
        if self.rng.random_bool(0.6) {
            let sent = match sent {
                Some(sent) => sent,
                None => send(&self.world.engine, &push).await.unwrap(),
            };
            let pushed = finish(&self.world.engine, &push, sent).await.unwrap();
            self.note(format!("finish {}: {pushed:?}", push.customer_id));
        }
    }

    /// A request is lost on its way, or so it seems: another time, it arrives.
    pub(super) async fn delay(&mut self) {
        if let Some(push) = self.delayed.pop() {
            // What people have edited in Stripe by then would be lost in Stripe.
            self.world.heal();
            self.world.settle_but_pushes().await;
            self.note(format!("arrives late: {:?}", push.request));
            arrive(&self.world.engine, &push).await;
        } else if let Some(push) = self.begun().await {
            if must_look_first(&push) {
                let sent = send(&self.world.engine, &push).await.unwrap();
                finish(&self.world.engine, &push, sent).await.unwrap();
                return;
            }
            self.note(format!("delayed: {:?}", push.request));
            let failure = Failure::new(FailureKind::Unknown, "timed out");
            let operation = match push.request {
                Request::Create { .. } => Operation::Create,
                _ => Operation::Update,
            };
            let sent = Sent::Failed(operation, failure);
            finish(&self.world.engine, &push, sent).await.unwrap();
            self.delayed.push(push);
        }
    }

    async fn begun(&mut self) -> Option<Box<Push>> {
        let id = self.any(&self.rows.clone())?;
        match begin(&self.world.engine, id).await.unwrap() {
            Begun::Push(push) => Some(push),
            Begun::Nothing(_) => None,
        }
    }

    /// A day passes, in which nobody looks; no network keeps a request for so long, and no process.
    pub(super) fn sleep(&mut self) {
        self.note("a day passes".to_owned());
        self.delayed.clear();
        self.pushes.clear();
        self.world.later(Duration::from_secs(25 * 3600));
    }

    pub(super) fn fault(&mut self) {
        let should_retry = None;
        let kinds = [
            Kind::ResetAfterEffect,
            Kind::ResetAfterEffect,
            Kind::ResetBeforeEffect,
            Kind::GatewayErrorAfterEffect,
            Kind::GatewayErrorBeforeEffect,
            Kind::GarbledBody,
            Kind::TruncatedBody,
            Kind::ErrorAfterEffect { should_retry },
            Kind::ErrorBeforeEffect { should_retry },
            Kind::LockTimeout,
            Kind::RateLimited {
                reason: Reason::EndpointRate,
            },
            Kind::IdempotencyForgotten,
        ];
        let kind = self.any(&kinds).unwrap();
        let on = self.any(&ROUTES).unwrap();
        self.note(format!("fault {on}: {kind:?}"));
        self.world.fault(on, kind);
    }

    /// The network heals, dead processes are replaced, and everything that is due is done.
    pub(super) async fn heal(&mut self) {
        self.world.heal();
        self.world.engine.lane.resume();
        for push in std::mem::take(&mut self.delayed) {
            self.world.settle_but_pushes().await;
            self.note(format!("arrives late: {:?}", push.request));
            arrive(&self.world.engine, &push).await;
        }
        self.world.later(Duration::from_secs(600));
        outbox::Entity::delete_many()
            .exec(&self.world.engine.db)
            .await
            .unwrap();
        // The first pass finds lost messages, the second what was freed by the first.
        for _ in 0..3 {
            self.world.settle().await;
            self.world.pass().await;
        }
        self.world.settle().await;
    }
}

/// A second create with another key is not on its way before a look has found no trace of the first.
fn must_look_first(push: &Push) -> bool {
    matches!(
        push.request,
        Request::Create {
            is_retry: false,
            ..
        }
    ) && push.in_doubt.is_some()
}

async fn arrive(engine: &sync_worker::engine::Engine, push: &Push) {
    let stripe = &engine.stripe;
    let lane = Lane::Upsync;
    match &push.request {
        Request::Create { body, key, .. } => drop(stripe.create(lane, body, key).await),
        Request::Update {
            stripe_id,
            body,
            key,
            ..
        } => drop(stripe.update(lane, stripe_id, body, key).await),
        Request::Delete { stripe_id } => drop(stripe.delete(lane, stripe_id).await),
        Request::Detach { .. } => {}
    }
}
