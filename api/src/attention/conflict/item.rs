//! How a conflict looks in JSON.

use chrono::{DateTime, Utc};
use entity::conflict::{self, Winner};
use entity::customer;
use entity::fields::Field;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use super::State;
use crate::customers::Json;
use crate::header::tag_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ConflictWinner", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum Side {
    Database,
    Stripe,
}

/// A field that was changed on both sides.
#[derive(Object, Serialize)]
#[oai(rename = "Conflict", example)]
pub(super) struct Item {
    id: Uuid,
    customer_id: Uuid,
    state: State,
    field: String,
    /// What both sides last agreed on.
    #[oai(nullable)]
    base: Option<String>,
    /// What was here; of one that waits, what is here now.
    #[oai(nullable)]
    database: Option<String>,
    /// What Stripe had, as it was last seen.
    #[oai(nullable)]
    stripe: Option<String>,
    /// Whose value holds; null as long as both sides keep their own.
    #[oai(nullable)]
    winner: Option<Side>,
    /// Whether a person has chosen the winner, and not the field's owner.
    decided_by_person: bool,
    /// What a person can do.
    next_step: String,
    /// The revision of the customer when it was noticed, where that is known.
    #[oai(nullable)]
    rev: Option<i64>,
    /// The revision of the customer; the ETag.
    customer_rev: i64,
    since: DateTime<Utc>,
    #[oai(nullable)]
    resolved_at: Option<DateTime<Utc>>,
    #[oai(nullable)]
    dismissed_at: Option<DateTime<Utc>>,
}

impl Item {
    pub(super) fn of(conflict: &conflict::Model, row: &customer::Model) -> Self {
        let is_open = conflict.winner == Winner::Open;
        let present = conflict.field.parse::<Field>().ok().map(|field| {
            let fields = row.fields();
            fields.get(field).map(str::to_owned)
        });
        Self {
            id: conflict.id,
            customer_id: conflict.customer_id,
            state: match conflict.state() {
                conflict::State::Open => State::Open,
                conflict::State::Resolved => State::Resolved,
                conflict::State::Dismissed => State::Dismissed,
            },
            field: conflict.field.clone(),
            base: conflict.base.clone(),
            database: present
                .filter(|_| is_open)
                .unwrap_or_else(|| conflict.database_value.clone()),
            stripe: conflict.stripe_value.clone(),
            winner: match conflict.winner {
                Winner::Database => Some(Side::Database),
                Winner::Stripe => Some(Side::Stripe),
                Winner::Open => None,
            },
            decided_by_person: conflict.decided_at.is_some(),
            next_step: conflict.next_step().to_owned(),
            rev: conflict.rev,
            customer_rev: row.rev,
            since: conflict.created_at,
            resolved_at: conflict.resolved_at,
            dismissed_at: conflict.dismissed_at,
        }
    }
}

impl Example for Item {
    fn example() -> Self {
        Self {
            id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0002),
            customer_id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
            state: State::Open,
            field: "name".to_owned(),
            base: Some("Bob".to_owned()),
            database: Some("Robert".to_owned()),
            stripe: Some("Bobby".to_owned()),
            winner: None,
            decided_by_person: false,
            next_step: "Resolve it with side database or side stripe; until then both sides keep their values."
                .to_owned(),
            rev: Some(2),
            customer_rev: 2,
            since: DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap_or_default(),
            resolved_at: None,
            dismissed_at: None,
        }
    }
}

/// Conflicts, newest first.
#[derive(Object, Serialize)]
#[oai(rename = "ConflictPage", example)]
pub(super) struct Page {
    pub(super) data: Vec<Item>,
    /// For the next page; null on the last one.
    #[oai(nullable)]
    pub(super) next_cursor: Option<String>,
}

impl Example for Page {
    fn example() -> Self {
        Self {
            data: vec![Item::example()],
            next_cursor: None,
        }
    }
}

#[derive(ApiResponse)]
pub(super) enum Listed {
    /// A page, which may be empty.
    #[oai(status = 200)]
    Page(Json<Page>),
}

#[derive(ApiResponse)]
pub(super) enum Found {
    /// The conflict as it is now.
    #[oai(status = 200)]
    Item(
        Json<Item>,
        /// The revision of the customer, for If-Match.
        #[oai(header = "ETag")]
        String,
    ),
}

impl Found {
    pub(super) fn of(conflict: &conflict::Model, row: &customer::Model) -> Self {
        Self::Item(Json::of(&Item::of(conflict, row)), tag_of(row.rev))
    }
}
