//! What is known of one customer in Stripe, and the fences that keep the two directions apart.
//!
//! One row a customer. Whoever wants to write about a customer to either side locks it first.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, DatabaseTransaction, QuerySelect};

use crate::fields::{Field, Fields};
use crate::fingerprint;
use crate::message::Moment;
use crate::parked::Reason;
use crate::sent_log::SentLog;
use crate::stamp::{Stamp, Stamps};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stripe_link")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    /// Unique: two rows never share one Stripe customer.
    pub stripe_id: Option<String>,
    /// When Stripe made the customer, in Unix seconds, so that a full pass can tell who is missing from a
    /// part of Stripe's list. Not always known; a pass fills it in.
    pub stripe_created: Option<i64>,
    /// The fields that both sides last agreed on; none before the first agreement.
    pub base: Option<Fields>,
    /// What Stripe shows of the customer while it has nothing new to say ([`fingerprint`]), so that a full pass can tell
    /// of many at once that nobody needs to look. None if it was never worked out.
    pub fingerprint: Option<i64>,
    /// The highest rev that asks for nothing more. The row waits to be pushed while its rev is above.
    pub synced_rev: i64,
    /// The `external_id` that Stripe's metadata was last given by us.
    pub external_id: Option<String>,
    /// The stamps that Stripe was last known to hold; none before it holds a write of ours. A copy with another one
    /// shows a write that nobody has acknowledged.
    pub pushed: Option<Stamps>,
    /// The latest updates that were sent; none before the first one.
    pub sent_log: Option<SentLog>,

    /// The form body of the create or update whose outcome is not known. A create is frozen at its first
    /// attempt, because one idempotency key allows one body; an update's says which of our values Stripe
    /// may hold although nobody has said so.
    pub request_body: Option<String>,
    /// What makes the idempotency keys of the request whose outcome is not known. A new one after
    /// each known outcome, so that no later request is answered with the replay of an earlier one.
    pub request_key: Option<Uuid>,
    /// When `request_key` was first used. Stripe forgets a key after 24 hours.
    pub request_started_at: Option<DateTimeUtc>,
    /// When the body was first sent. Under a later key, what it made may be anything that is younger.
    pub doubt_since: Option<DateTimeUtc>,

    /// One push at a time: the rev it carries, its token, and when it began. Only the holder of the
    /// token writes the outcome.
    pub push_rev: Option<i64>,
    pub push_token: Option<Uuid>,
    pub push_started_at: Option<DateTimeUtc>,
    /// How often in a row a push had to be taken over because its process had ended.
    pub takeovers: i32,

    /// When the last push was acknowledged ([`crate::message::Moment`]): by the database's clock, and in the order of
    /// all moments.
    pub acked_at: Option<DateTimeUtc>,
    pub acked_order: Option<i64>,
    /// When the copy that was last taken into account was read, likewise.
    pub observed_at: Option<DateTimeUtc>,
    pub observed_order: Option<i64>,

    /// Failed attempts in a row.
    pub attempts: i32,
    /// When this customer is to be looked at again without a message: a retry that is due, or a push
    /// whose process has died.
    pub next_attempt_at: Option<DateTimeUtc>,
    /// A copy was put aside by a fence: read the customer again from then on.
    pub recheck_at: Option<DateTimeUtc>,

    /// Nothing more is sent for this rev until the row is edited or a person retries.
    pub parked_reason: Option<String>,
    pub parked_detail: Option<String>,
    pub parked_rev: Option<i64>,
    pub parked_request_id: Option<String>,
    pub parked_at: Option<DateTimeUtc>,
    /// The value of Stripe's that the row cannot take, where that is the reason.
    pub parked_stripe_value: Option<String>,
    /// A person has seen it and leaves it as it is. Parked anew, it is shown again.
    pub parked_dismissed_at: Option<DateTimeUtc>,

    /// The link is cut: deleted on one side and, by policy, left alone on the other.
    pub detached_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The base, or the empty one where nothing was agreed on yet.
    pub fn base_or_empty(&self) -> Fields {
        self.base.clone().unwrap_or_default()
    }

    /// Whether a person has to look before `rev` is sent.
    pub fn is_parked_at(&self, rev: i64) -> bool {
        self.parked_reason.is_some() && self.parked_rev.is_some_and(|parked| parked >= rev)
    }

    /// How often in a row the pushes of this customer have died, one that is still written down included.
    pub fn died(&self) -> i32 {
        self.takeovers + i32::from(self.push_token.is_some())
    }

    /// Why it is parked.
    pub fn parked(&self) -> Option<Reason> {
        self.parked_reason.as_deref().map(Reason::of)
    }

    /// Whether Stripe's customer was deleted and the row is parked for it: another Stripe customer may take its place.
    pub fn awaits_substitute(&self) -> bool {
        self.parked() == Some(Reason::DeletedInStripe) && self.parked_dismissed_at.is_none()
    }

    /// The fingerprint that goes with the rest of the link.
    pub fn expected_fingerprint(&self) -> i64 {
        fingerprint::of_link(
            self.stripe_id.as_deref(),
            self.base.as_ref(),
            self.parked(),
            self.detached_at.is_some(),
        )
    }

    /// Whether an update that was sent from this database wrote the stamp.
    pub fn wrote(&self, field: Field, stamp: &Stamp) -> bool {
        let log = self.sent_log.as_ref();
        log.is_some_and(|log| log.find(field, stamp).is_some())
    }

    /// Whether a push holds the link at `now`. One that began longer than `expiry` ago has died; so has one that began
    /// as long after `now`, because the clock was set back since and does not say how long it has been under way. One
    /// that began just after `now` is under way: `now` may have been read before somebody waited for a lock.
    pub fn push_is_under_way(&self, now: DateTimeUtc, expiry: chrono::Duration) -> bool {
        self.push_started_at
            .is_some_and(|started| (now - started).abs() < expiry)
    }
}

/// Why a customer is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// A stable code, such as `email_taken`.
    pub reason: String,
    /// For a person: what was refused, and by whom.
    pub detail: String,
    /// The rev that is not sent again.
    pub rev: i64,
    /// The Request-Id of Stripe's answer, if it was Stripe that refused.
    pub request_id: Option<String>,
    /// The value of Stripe's that the row cannot take, where that is the reason.
    pub stripe_value: Option<String>,
}

impl ActiveModel {
    /// A push was acknowledged.
    pub fn set_acked(&mut self, moment: Moment) {
        self.acked_at = Set(Some(moment.at));
        self.acked_order = Set(Some(moment.order));
    }

    /// The copy that was read then is taken into account.
    pub fn set_observed(&mut self, read_at: Moment) {
        self.observed_at = Set(Some(read_at.at));
        self.observed_order = Set(Some(read_at.order));
    }

    /// Ends the push under way, whatever came of it.
    pub fn end_push(&mut self) {
        self.push_rev = Set(None);
        self.push_token = Set(None);
        self.push_started_at = Set(None);
        self.next_attempt_at = Set(None);
        self.attempts = Set(0);
        self.takeovers = Set(0);
    }

    /// Stripe does not show the customer any more, and nobody needs to look for it.
    pub fn expect_nothing(&mut self) {
        self.fingerprint = Set(Some(fingerprint::NOTHING));
    }

    /// Brings the fingerprint in step with what was set; whoever inserts a link has to call it, [`Self::store`] does.
    pub fn set_fingerprint(&mut self) {
        let is_set = self.stripe_id.is_set()
            || self.base.is_set()
            || self.parked_reason.is_set()
            || self.detached_at.is_set();
        if !is_set || self.fingerprint.is_set() {
            return;
        }
        let stripe_id = self.stripe_id.try_as_ref().and_then(Option::as_deref);
        let base = self.base.try_as_ref().and_then(Option::as_ref);
        let parked = self.parked_reason.try_as_ref().and_then(Option::as_deref);
        let detached_at = self.detached_at.try_as_ref();
        self.fingerprint = Set(Some(fingerprint::of_link(
            stripe_id,
            base,
            parked.map(Reason::of),
            detached_at.is_some_and(Option::is_some),
        )));
    }

    /// Nothing is sent for this rev until the row is edited or a person retries.
    pub fn park(&mut self, parked: Parked, now: DateTimeUtc) {
        self.parked_reason = Set(Some(parked.reason));
        self.parked_detail = Set(Some(parked.detail));
        self.parked_rev = Set(Some(parked.rev));
        self.parked_request_id = Set(parked.request_id);
        self.parked_at = Set(Some(now));
        self.parked_stripe_value = Set(parked.stripe_value);
        self.parked_dismissed_at = Set(None);
        self.next_attempt_at = Set(None);
    }

    pub fn unpark(&mut self) {
        self.parked_reason = Set(None);
        self.parked_detail = Set(None);
        self.parked_rev = Set(None);
        self.parked_request_id = Set(None);
        self.parked_at = Set(None);
        self.parked_stripe_value = Set(None);
        self.parked_dismissed_at = Set(None);
    }

    /// Cuts the link, so that the next push finds or creates another customer in Stripe. Only a person decides
    /// that. What was read of the old one stays behind the fence.
    pub fn start_anew(&mut self) {
        self.stripe_id = Set(None);
        self.stripe_created = Set(None);
        self.base = Set(None);
        self.pushed = Set(None);
        self.external_id = Set(None);
        self.recheck_at = Set(None);
        self.detached_at = Set(None);
        self.end_request();
    }

    /// The key will not tell the outcome: the next attempt has a new one. The body stays, because what it
    /// asked for may have been done.
    pub fn give_up_key(&mut self) {
        self.request_key = Set(None);
        self.request_started_at = Set(None);
    }

    /// The outcome of the request is known: the next one is a new one.
    pub fn end_request(&mut self) {
        self.request_body = Set(None);
        self.doubt_since = Set(None);
        self.request_key = Set(None);
        self.request_started_at = Set(None);
    }

    /// Writes what was set, and nothing if nothing was. Made from the whole link, because the fingerprint goes with all
    /// of it.
    pub async fn store(mut self, tx: &DatabaseTransaction, now: DateTimeUtc) -> Result<(), DbErr> {
        if !self.is_changed() {
            return Ok(());
        }
        self.set_fingerprint();
        self.updated_at = Set(now);
        let customer_id = *self.customer_id.as_ref();
        Entity::update_many()
            .filter(Column::CustomerId.eq(customer_id))
            .set(self)
            .exec(tx)
            .await?;
        Ok(())
    }
}

pub async fn find(db: &impl ConnectionTrait, customer_id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(customer_id).one(db).await
}

pub async fn find_by_stripe_id(
    db: &impl ConnectionTrait,
    stripe_id: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::StripeId.eq(stripe_id))
        .one(db)
        .await
}

/// The link of a customer that exists, made if it is missing, locked until the transaction ends.
pub async fn lock_or_create(
    tx: &DatabaseTransaction,
    customer_id: Uuid,
    now: DateTimeUtc,
) -> Result<Model, DbErr> {
    if let Some(link) = lock(tx, customer_id).await? {
        return Ok(link);
    }
    // Two workers may meet here; the second one waits for the first and finds its row.
    Entity::insert(fresh(customer_id, now))
        .on_conflict(
            OnConflict::column(Column::CustomerId)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    lock(tx, customer_id)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound(format!("stripe_link of customer {customer_id}")))
}

/// A link of which nothing is known yet, to be inserted.
pub fn fresh(customer_id: Uuid, now: DateTimeUtc) -> ActiveModel {
    ActiveModel {
        customer_id: Set(customer_id),
        synced_rev: Set(0),
        attempts: Set(0),
        takeovers: Set(0),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    }
}

/// The link, locked until the transaction ends.
pub async fn lock(tx: &DatabaseTransaction, customer_id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(customer_id)
        .lock_exclusive()
        .one(tx)
        .await
}
