//! The start of a push: under the link's lock it is decided what to send, and written down that it is
//! being sent. Nothing is sent before that is committed, so whoever comes after a crash knows.

use chrono::{DateTime, Utc};
use entity::fields::{Field, Fields, Member};
use entity::parked::Reason;
use entity::sent_log::{SentLog, SentUpdate};
use entity::stamp::Stamps;
use entity::stripe_link::Parked;
use entity::timeline::{self, Detail, Step};
use entity::{customer, stripe_link};
use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, DbErr, IntoActiveModel};
use uuid::Uuid;

use super::coverage::is_covered;
use super::plan::{Plan, external_id, key_is_alive, plan};
use super::pushed::count_saved;
use crate::engine::{Engine, PUSH_EXPIRY};
use crate::frozen::Frozen;
use crate::observe::is_parked_by_copy;
use crate::observe::store::held_fields;
use crate::poison::MOST;
use crate::review;
use crate::stripe;

/// A push that has begun. Only it may write its outcome, by its token.
#[derive(Clone, Debug)]
pub struct Push {
    pub customer_id: Uuid,
    pub token: Uuid,
    pub rev: i64,
    pub is_deleted: bool,
    /// The row's values at that rev.
    pub fields: Fields,
    /// The body of an earlier request that is in doubt: whatever becomes of this one, Stripe may hold what that
    /// one sent.
    pub in_doubt: Option<String>,
    /// A create is in doubt under another key than this one's: it may have been made since then.
    pub look_since: Option<DateTime<Utc>>,
    /// The how many-th in a row.
    pub attempt: i32,
    /// The timeline tells of it.
    pub is_told: bool,
    pub request: Request,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Create {
        body: String,
        key: String,
        /// The key was used before. Then the answer says whether the first attempt was executed.
        is_retry: bool,
    },
    Update {
        stripe_id: String,
        sent: Vec<Field>,
        body: String,
        key: String,
        /// The base, if edits in Stripe may not have been read: then the customer is read first.
        look_first: Option<Fields>,
    },
    Delete {
        stripe_id: String,
    },
    Detach {
        stripe_id: String,
        body: String,
        key: String,
    },
}

#[derive(Clone, Debug)]
pub enum Begun {
    /// There is nothing to send, or not now.
    Nothing(Plan),
    Push(Box<Push>),
}

/// Begins a push of the customer as it is now, if it asks for one.
pub async fn begin(engine: &Engine, customer_id: Uuid) -> Result<Begun, DbErr> {
    begin_knowing(engine, customer_id, false).await
}

/// The same. `was_read`: the caller has just read the customer in Stripe, and what that showed is stored.
pub async fn begin_knowing(
    engine: &Engine,
    customer_id: Uuid,
    was_read: bool,
) -> Result<Begun, DbErr> {
    let tx = engine.begin().await?;
    let Some(link) = lock_link(engine, &tx, customer_id).await? else {
        return Ok(Begun::Nothing(Plan::Nothing));
    };
    // Under the lock: whoever held it may have begun a push while we waited.
    let now = engine.now(&tx).await?;
    // Read under the lock: what was committed while we waited for it counts.
    let Some(row) = customer::find(&tx, customer_id).await? else {
        return Ok(Begun::Nothing(Plan::Nothing));
    };
    let held = held_fields(&tx, customer_id).await?;
    let plan = plan(&row, &link, &held, engine.policy.on_database_delete, now);
    let begun = match &plan {
        Plan::Busy => Begun::Nothing(plan),
        Plan::Nothing | Plan::Parked => {
            // Held back whatever the rev is: it is shown as parked for the present one.
            let is_held = plan == Plan::Parked && !link.is_parked_at(row.rev);
            // Nobody needs to look again by itself.
            if link.next_attempt_at.is_some() || is_held {
                let mut idle = link.clone().into_active_model();
                idle.next_attempt_at = Set(None);
                if is_held {
                    idle.parked_rev = Set(Some(row.rev));
                }
                idle.store(&tx, now).await?;
            }
            Begun::Nothing(plan)
        }
        Plan::Unfinished => {
            give_up(&row, &link, now).store(&tx, now).await?;
            Begun::Nothing(plan)
        }
        Plan::Settle => {
            settle(&row, &link).store(&tx, now).await?;
            // The edits have taken each other back.
            count_saved(row.rev - link.synced_rev);
            Begun::Nothing(plan)
        }
        Plan::Create | Plan::Update(_) | Plan::Delete | Plan::Detach => {
            let push = record(&tx, (&row, &link), plan, was_read, now).await?;
            Begun::Push(Box::new(push))
        }
    };
    engine.steps.reach_commit("begin: commit").await;
    tx.commit().await?;
    Ok(begun)
}

/// The link, locked; none for a customer whose tombstone was purged, because then the message is older
/// than any that can matter.
async fn lock_link(
    engine: &Engine,
    tx: &DatabaseTransaction,
    customer_id: Uuid,
) -> Result<Option<stripe_link::Model>, DbErr> {
    if let Some(link) = stripe_link::lock(tx, customer_id).await? {
        return Ok(Some(link));
    }
    if customer::find(tx, customer_id).await?.is_none() {
        return Ok(None);
    }
    let now = engine.now(tx).await?;
    let link = stripe_link::lock_or_create(tx, customer_id, now).await?;
    Ok(Some(link))
}

fn settle(row: &customer::Model, link: &stripe_link::Model) -> stripe_link::ActiveModel {
    let mut settled = link.clone().into_active_model();
    settled.end_push();
    settled.end_request();
    settled.synced_rev = Set(row.rev);
    if link.parked_reason.is_some() && !is_parked_by_copy(link) {
        settled.unpark();
    }
    settled
}

/// What was sent stays in doubt: an edit, or a person's retry, goes on from there.
fn give_up(
    row: &customer::Model,
    link: &stripe_link::Model,
    now: DateTime<Utc>,
) -> stripe_link::ActiveModel {
    let mut given_up = link.clone().into_active_model();
    given_up.end_push();
    let parked = Parked {
        reason: Reason::Unfinished.as_str().to_owned(),
        detail: format!(
            "the process ended {MOST} times while this customer was being sent to Stripe; look in the \
             logs for why, then edit the customer or try again"
        ),
        rev: row.rev,
        request_id: None,
        stripe_value: None,
    };
    review::park(&mut given_up, row.id, parked, now);
    given_up
}

async fn record(
    tx: &DatabaseTransaction,
    (row, link): (&customer::Model, &stripe_link::Model),
    plan: Plan,
    was_read: bool,
    now: DateTime<Utc>,
) -> Result<Push, DbErr> {
    let is_retry = key_is_alive(link, now);
    let key = match link.request_key {
        Some(key) if is_retry => key,
        _ => Uuid::new_v4(),
    };
    let token = Uuid::new_v4();
    let mut request = request(row, link, plan, (key, is_retry));
    if !was_read {
        look_if_unread(tx, &mut request, (link, is_retry), now).await?;
    }
    let mut begun = link.clone().into_active_model();
    begun.push_rev = Set(Some(row.rev));
    begun.push_token = Set(Some(token));
    begun.push_started_at = Set(Some(now));
    begun.takeovers = Set(link.died());
    // Looked at again by then if this process dies.
    begun.next_attempt_at = Set(Some(now + PUSH_EXPIRY));
    // For a deleted row a new key is never used: it is only looked for what an earlier one has made.
    let is_sent = !row.is_deleted() || link.stripe_id.is_some();
    if !is_retry && is_sent {
        begun.request_key = Set(Some(key));
        begun.request_started_at = Set(Some(now));
    }
    if let Request::Create { body, .. } | Request::Update { body, .. } = &request {
        begun.request_body = Set(Some(body.clone()));
        begun.doubt_since = Set(link.doubt_since.or(Some(now)));
    }
    if let Some(log) = logged(&request, link) {
        begun.sent_log = Set(Some(log));
    }
    // Not only now: the attempt that took the new key may have died before it looked.
    let is_of_key = is_retry && link.doubt_since >= link.request_started_at;
    let look_since = link.doubt_since.filter(|_| !is_of_key);
    if link.parked_reason.is_some() {
        begun.unpark();
    }
    begun.store(tx, now).await?;
    let attempt = link.attempts.saturating_add(1);
    // A request that Stripe was too busy for is the same attempt again.
    let is_told = timeline::is_noted(attempt) && !(is_retry && link.attempts == 0);
    if is_told {
        let detail = Detail {
            kind: Some(request.kind().to_owned()),
            fields: request.sent_members(),
            attempt: Some(attempt),
            ..Detail::default()
        };
        timeline::note(tx, (row.id, Some(row.rev)), Step::Push, detail, now).await?;
    }
    Ok(Push {
        customer_id: row.id,
        token,
        rev: row.rev,
        is_deleted: row.is_deleted(),
        fields: row.fields(),
        in_doubt: link.request_body.clone(),
        look_since,
        attempt,
        is_told,
        request,
    })
}

/// Has the customer read before an update replaces an edit that nobody has read. A request in doubt is always reason
/// enough, unless the same one is sent again under its key: that has no second effect.
async fn look_if_unread(
    tx: &DatabaseTransaction,
    request: &mut Request,
    (link, is_retry): (&stripe_link::Model, bool),
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let Request::Update {
        stripe_id,
        sent,
        body,
        look_first,
        ..
    } = request
    else {
        return Ok(());
    };
    // Nothing was agreed on yet: it was linked by an id that an application gave.
    if link.base.is_none() {
        *look_first = Some(Fields::default());
        return Ok(());
    }
    if sent.is_empty() {
        return Ok(());
    }
    let in_doubt = link.request_body.as_ref();
    let is_other_in_doubt = in_doubt.is_some_and(|known| !(is_retry && known == body));
    if is_other_in_doubt || !is_covered(tx, stripe_id, now).await? {
        *look_first = Some(link.base_or_empty());
    }
    Ok(())
}

/// The log of updates with this one, recorded before it is sent.
fn logged(request: &Request, link: &stripe_link::Model) -> Option<SentLog> {
    let Request::Update { body, sent, .. } = request else {
        return None;
    };
    if sent.is_empty() {
        return None;
    }
    let stamps = Frozen::read(body).stamps;
    let update = SentUpdate::new(stamps, &link.base_or_empty(), link.pushed.as_ref());
    let mut log = link.sent_log.clone().unwrap_or_default();
    log.record(update);
    Some(log)
}

/// Spells the request. An idempotency key stands for one body: a create keeps the body of its first
/// attempt until its outcome is known, and the key of an update names the rev and the fields that it
/// sends.
fn request(
    row: &customer::Model,
    link: &stripe_link::Model,
    plan: Plan,
    (key, is_retry): (Uuid, bool),
) -> Request {
    let stripe_id = link.stripe_id.clone().unwrap_or_default();
    let fields = row.fields();
    match plan {
        Plan::Delete => Request::Delete { stripe_id },
        Plan::Detach => Request::Detach {
            stripe_id,
            body: stripe::detach_body(),
            key: format!("{key}-detach"),
        },
        Plan::Update(sent) => {
            let stamps = Stamps::of((row.rev, key), &fields, &sent);
            let changes: Vec<_> = sent
                .iter()
                .map(|field| (*field, fields.get(*field).map(str::to_owned)))
                .collect();
            let in_doubt = Frozen::of(link).unwrap_or_default();
            let external_id = external_id(row, link, &in_doubt);
            let ids = (row.id, external_id.as_deref());
            Request::Update {
                stripe_id,
                body: stripe::update_body(&changes, ids, &stamps),
                key: update_key(key, row.rev, &sent),
                sent,
                look_first: None,
            }
        }
        _ => {
            let body = link.request_body.clone().unwrap_or_else(|| {
                let stamps = Stamps::of((row.rev, key), &fields, &Field::ALL);
                stripe::create_body(&fields, (row.id, row.external_id.as_deref()), &stamps)
            });
            Request::Create {
                body,
                key: key.to_string(),
                is_retry,
            }
        }
    }
}

/// The row may have moved on since the key was first used, and other fields may be held back: both are part of what an
/// update's key stands for.
fn update_key(key: Uuid, rev: i64, sent: &[Field]) -> String {
    let sent: Vec<&str> = sent.iter().map(|field| field.as_str()).collect();
    format!("{key}-{rev}-{}", sent.join("-"))
}

impl Request {
    /// The word for it in timelines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Detach { .. } => "detach",
        }
    }

    /// What an update sends.
    fn sent_members(&self) -> Vec<Member> {
        let fields = self.sent_fields().iter().copied().map(Member::Field);
        let external_id = match self {
            Self::Update { body, .. } => Frozen::read(body).external_id,
            _ => None,
        };
        fields
            .chain(external_id.map(|_| Member::ExternalId))
            .collect()
    }

    /// The fields of an update.
    pub fn sent_fields(&self) -> &[Field] {
        match self {
            Self::Update { sent, .. } => sent,
            Self::Create { .. } | Self::Delete { .. } | Self::Detach { .. } => &[],
        }
    }
}
