//! What there is to see, on either side.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use entity::fields::{Field, Fields};
use entity::fingerprint::NOTHING;
use entity::message::Origin;
use entity::stamp::Stamp;
use entity::stripe_object::rev_of;
use entity::{conflict, customer, outbox, stripe_link, unmatched};
use platform::health::{ComponentReport, Health};
use platform::test_support::until;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Statement,
};
use serde_json::Value;
use uuid::Uuid;

use super::World;

/// Of a wait for something that happens at once on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// The tables that nothing may be written to while nothing happens.
const WATCHED: [&str; 6] = [
    "customer",
    "stripe_link",
    "conflict",
    "unmatched",
    "outbox",
    "timeline",
];

impl World {
    pub(crate) async fn now(&self) -> DateTime<Utc> {
        self.engine.now(&self.engine.db).await.unwrap()
    }

    pub(crate) async fn row(&self, id: Uuid) -> customer::Model {
        customer::find(&self.engine.db, id).await.unwrap().unwrap()
    }

    /// Every living row, oldest first.
    pub(crate) async fn rows(&self) -> Vec<customer::Model> {
        let mut rows = customer::Entity::find()
            .order_by_asc(customer::Column::Id)
            .all(&self.engine.db)
            .await
            .unwrap();
        rows.retain(|row| !row.is_deleted());
        rows
    }

    pub(crate) async fn link(&self, id: Uuid) -> stripe_link::Model {
        let link = stripe_link::find(&self.engine.db, id).await.unwrap();
        let link = link.expect("the customer has a link");
        self.assert_fingerprint(&link).await;
        link
    }

    /// Whoever changes what was agreed on changes the fingerprint with it: a pass trusts it.
    async fn assert_fingerprint(&self, link: &stripe_link::Model) {
        let row = customer::find(&self.engine.db, link.customer_id)
            .await
            .unwrap();
        let is_gone = link.fingerprint == Some(NOTHING) && row.is_none_or(|row| row.is_deleted());
        let is_expected = link.fingerprint == Some(link.expected_fingerprint());
        let is_unlinked = link.stripe_id.is_none() && link.fingerprint.is_none();
        assert!(is_gone || is_expected || is_unlinked, "{link:?}");
    }

    /// The rows in the order of Stripe's list.
    pub(crate) async fn rows_newest_in_stripe(
        &self,
        rows: &[customer::Model],
    ) -> Vec<customer::Model> {
        let mut ordered = Vec::with_capacity(rows.len());
        for customer in self.stripe.sandbox.customers() {
            let email = customer["email"].as_str().unwrap();
            ordered.extend(rows.iter().find(|row| row.email == email).cloned());
        }
        ordered
    }

    /// Stripe's id of a linked customer.
    pub(crate) async fn stripe_id(&self, id: Uuid) -> String {
        self.link(id).await.stripe_id.expect("the link is complete")
    }

    /// A linked customer as Stripe shows it.
    pub(crate) async fn in_stripe(&self, id: Uuid) -> Value {
        self.shown(&self.stripe_id(id).await)
    }

    pub(crate) fn shown(&self, stripe_id: &str) -> Value {
        self.stripe.sandbox.customer(stripe_id).unwrap()
    }

    pub(crate) fn in_stripe_count(&self) -> usize {
        self.stripe.sandbox.customer_count()
    }

    /// The customers of Stripe's that name a row, deleted ones left out.
    pub(crate) fn made_for(&self, id: Uuid) -> usize {
        let id = id.to_string();
        let names = |customer: &&Value| customer["metadata"]["customer_sync_id"] == id.as_str();
        self.stripe.sandbox.customers().iter().filter(names).count()
    }

    /// What we wrote to Stripe, as method and path.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.requests(|method| method != "GET")
    }

    /// What we read of Stripe, as method and path.
    pub(crate) fn reads(&self) -> Vec<String> {
        self.requests(|method| method == "GET")
    }

    /// Whatever was sent again under its idempotency key was the same.
    #[track_caller]
    pub(crate) fn assert_keys_stand_for_one_body(&self) {
        let mut sent = HashMap::new();
        for request in self.stripe.sandbox.requests() {
            let Some(key) = request.idempotency_key else {
                continue;
            };
            let first = sent.entry(key).or_insert(request.parameters.clone());
            assert_eq!(*first, request.parameters, "{} again", request.path);
        }
    }

    pub(crate) fn forget_requests(&self) {
        self.stripe.sandbox.clear_requests();
    }

    fn requests(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let requests = self.stripe.sandbox.requests().into_iter();
        requests
            .filter(|request| wanted(&request.method))
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    pub(crate) async fn conflicts(&self) -> Vec<conflict::Model> {
        conflict::Entity::find()
            .order_by_asc(conflict::Column::Id)
            .all(&self.engine.db)
            .await
            .unwrap()
    }

    pub(crate) async fn unmatched(&self) -> Vec<unmatched::Model> {
        unmatched::Entity::find()
            .order_by_asc(unmatched::Column::StripeId)
            .all(&self.engine.db)
            .await
            .unwrap()
    }

    pub(crate) async fn outbox(&self) -> u64 {
        outbox::Entity::find().count(&self.engine.db).await.unwrap()
    }

    /// The revs of a customer in the outbox, which no relay empties, and where each was made.
    pub(crate) async fn published(&self, id: Uuid) -> Vec<(i64, Origin)> {
        let rows = outbox::Entity::find()
            .filter(outbox::Column::CustomerId.eq(id))
            .order_by_asc(outbox::Column::Id);
        let rows = rows.all(&self.engine.db).await.unwrap();
        rows.iter().map(|row| (row.rev, row.origin)).collect()
    }

    /// Why a row is parked.
    pub(crate) async fn parked(&self, id: Uuid) -> Option<String> {
        self.link(id).await.parked_reason
    }

    /// From now on every write to a table is noted. SQLite only.
    pub(crate) async fn watch_writes(&self) {
        assert!(self.is_sqlite());
        let mut script = String::from("CREATE TABLE written (name TEXT);");
        for table in WATCHED {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                script.push_str(&format!(
                    "CREATE TRIGGER written_{table}_{event} AFTER {event} ON {table} \
                     BEGIN INSERT INTO written VALUES ('{table}'); END;"
                ));
            }
        }
        self.engine.db.execute_unprepared(&script).await.unwrap();
    }

    /// The tables written to since the last look, in order, each as often as a row was written.
    pub(crate) async fn writes(&self) -> Vec<String> {
        let backend = self.engine.db.get_database_backend();
        let select = Statement::from_string(backend, "SELECT name FROM written ORDER BY rowid");
        let rows = self.engine.db.query_all_raw(select).await.unwrap();
        let delete = "DELETE FROM written";
        self.engine.db.execute_unprepared(delete).await.unwrap();
        rows.iter()
            .map(|row| row.try_get("", "name").unwrap())
            .collect()
    }

    /// Both sides hold the same, and nothing is left to do about this customer.
    pub(crate) async fn assert_in_step(&self, id: Uuid) {
        let (row, link) = (self.row(id).await, self.link(id).await);
        assert!(!row.is_deleted());
        assert_eq!(field_values(&self.in_stripe(id).await), row.fields());
        assert_eq!(link.base, Some(row.fields()));
        assert_eq!(link.synced_rev, row.rev);
        assert_at_rest(&link);
    }

    /// Gone from both sides, and nothing is left to do about it.
    pub(crate) async fn assert_gone(&self, id: Uuid) {
        let (row, link) = (self.row(id).await, self.link(id).await);
        assert!(row.is_deleted());
        assert_eq!(self.made_for(id), 0);
        assert_eq!(link.synced_rev, row.rev);
        assert_at_rest(&link);
    }
}

/// No push, no retry, no recheck and no request in doubt.
pub(crate) fn assert_at_rest(link: &stripe_link::Model) {
    assert_eq!(link.push_token, None);
    assert_eq!(link.next_attempt_at, None);
    assert_eq!(link.recheck_at, None);
    assert_eq!(link.parked_reason, None);
    assert_eq!(link.request_key, None);
    assert_eq!(link.request_body, None);
    assert_eq!(link.doubt_since, None);
    assert_eq!(link.takeovers, 0);
    assert_eq!(link.attempts, 0);
}

/// The kept fields of a customer as Stripe shows it.
pub(crate) fn field_values(customer: &Value) -> Fields {
    let mut fields = Fields::default();
    for field in Field::ALL {
        let value = customer[field.as_str()].as_str();
        fields.set(field, value.map(str::to_owned));
    }
    fields.canonical()
}

/// Our mark on a field of a customer as Stripe shows it.
pub(crate) fn stamp(customer: &Value, field: Field) -> Stamp {
    let text = customer["metadata"][rev_of(field)].as_str();
    text.expect("it is stamped").parse().unwrap()
}

/// Bounded waits for what happens beside a test.
impl World {
    /// Until Stripe has got so many writes.
    pub(crate) async fn until_called(&self, count: usize) {
        let probe = async || (self.calls().len() >= count).then_some(());
        until("stripe is called", LIMIT, probe).await;
    }

    /// Until Stripe has got so many reads.
    pub(crate) async fn until_read(&self, count: usize) {
        let probe = async || (self.reads().len() >= count).then_some(());
        until("stripe is read", LIMIT, probe).await;
    }

    /// Until the consumer of drifts says that it can't work.
    pub(crate) async fn until_apply_has_a_problem(&self) {
        until_problem(&self.health).await;
    }

    /// Until a component works, or stands by.
    pub(crate) async fn until_well(&self, name: &str) {
        let probe = async || {
            let report = self.health.report(Instant::now());
            let mut components = report.components.iter();
            let is_well = |one: &ComponentReport| one.name == name && one.status == "ok";
            components.any(is_well).then_some(())
        };
        until("it works", LIMIT, probe).await;
    }

    /// Until so many customers are in Stripe.
    pub(crate) async fn until_in_stripe(&self, count: usize) {
        let probe = async || (self.in_stripe_count() == count).then_some(());
        until("the customers are in stripe", LIMIT, probe).await;
    }
}

/// Until a component has a problem.
pub(crate) async fn until_problem(health: &Health) {
    let probe = async || {
        let report = health.report(Instant::now());
        let has_problem = |component: &ComponentReport| component.status == "problem";
        report.components.iter().any(has_problem).then_some(())
    };
    until("the worker has a problem", LIMIT, probe).await;
}
