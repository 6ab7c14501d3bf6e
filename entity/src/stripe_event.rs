//! The inbox of Stripe's events, polled or sent to the webhook. The id is the key, so duplicates end
//! here; an event says "read this customer again" and nothing more.

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::message::StripeCopy;
use crate::stripe_object::Replaced;

/// The events that say something about a customer itself. `customer.*` would bring its subscriptions,
/// sources and discounts too.
pub const KINDS: [&str; 3] = ["customer.created", "customer.updated", "customer.deleted"];

/// SQLite takes 32,766 parameters in one statement, and a row has nine.
const ROWS_AT_ONCE: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stripe_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub kind: String,
    pub stripe_id: String,
    /// Unix seconds. Never used as an order.
    pub created: i64,
    /// The customer as the event showed it ([`crate::message::StripeCopy`]): enough to see that it is
    /// the echo of a write of ours, and never applied.
    pub copy: Option<Json>,
    /// What an update of ours replaced ([`crate::stripe_object::Replaced`]); none of any other event.
    pub replaced: Option<Json>,
    pub received_at: DateTimeUtc,
    pub processed_at: Option<DateTimeUtc>,
    /// Who told of it first: a [`Source`].
    pub source: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Who tells of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Webhook,
    Poll,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
        }
    }
}

/// An event, which says "read this customer again".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// One of [`KINDS`].
    pub kind: String,
    pub stripe_id: String,
    /// Unix seconds. Not an order, and not unique.
    pub created: i64,
    /// The customer as it was at some time, in the form of an API version that may not be ours: never to
    /// be applied. Absent where the event shows none that can be read.
    pub copy: Option<StripeCopy>,
    /// What it replaced, if it is that of an update of ours.
    pub replaced: Option<Replaced>,
}

/// Puts events into the inbox; those that are in it already stay as they are, and so does who told of them first.
/// Returns how many are new.
pub async fn receive(
    db: &impl ConnectionTrait,
    events: &[Event],
    source: Source,
    now: DateTimeUtc,
) -> Result<u64, DbErr> {
    let mut fresh = 0;
    for events in events.chunks(ROWS_AT_ONCE) {
        let rows = events.iter().map(|event| ActiveModel {
            id: Set(event.id.clone()),
            kind: Set(event.kind.clone()),
            stripe_id: Set(event.stripe_id.clone()),
            created: Set(event.created),
            copy: Set(event
                .copy
                .as_ref()
                .and_then(|copy| serde_json::to_value(copy).ok())),
            replaced: Set(event
                .replaced
                .as_ref()
                .and_then(|replaced| serde_json::to_value(replaced).ok())),
            received_at: Set(now),
            processed_at: Set(None),
            source: Set(source.as_str().to_owned()),
        });
        fresh += Entity::insert_many(rows)
            .on_conflict(OnConflict::column(Column::Id).do_nothing().to_owned())
            .exec_without_returning(db)
            .await?;
    }
    Ok(fresh)
}
