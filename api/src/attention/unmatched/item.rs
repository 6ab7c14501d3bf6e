//! How an unmatched customer looks in JSON, and the body that links one.

use chrono::{DateTime, Utc};
use entity::unmatched::{Model, Reason};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use uuid::Uuid;

use crate::body::{Input, Members};
use crate::customers::Json;
use crate::problem::Problem;

/// A Stripe customer that has no customer here.
#[derive(Object, Serialize)]
#[oai(rename = "UnmatchedCustomer", example)]
pub(super) struct Item {
    /// Stripe's id.
    stripe_id: String,
    /// What to compare in a program.
    reason: String,
    /// What a person can do.
    next_step: String,
    /// Its e-mail in Stripe, if it has one.
    #[oai(nullable)]
    email: Option<String>,
    /// The customer that has this e-mail, or that it names.
    #[oai(nullable)]
    customer_id: Option<Uuid>,
    /// The customer that it is being linked to.
    #[oai(nullable)]
    link_to: Option<Uuid>,
    /// When it is read again.
    #[oai(nullable)]
    retry_at: Option<DateTime<Utc>>,
    since: DateTime<Utc>,
    #[oai(nullable)]
    dismissed_at: Option<DateTime<Utc>>,
}

impl From<&Model> for Item {
    fn from(entry: &Model) -> Self {
        Self {
            stripe_id: entry.stripe_id.clone(),
            reason: entry.reason.as_str().to_owned(),
            next_step: entry.reason.next_step().to_owned(),
            email: entry.email.clone(),
            customer_id: entry.customer_id,
            link_to: entry.link_to,
            retry_at: entry.recheck_at,
            since: entry.created_at,
            dismissed_at: entry.dismissed_at,
        }
    }
}

impl Example for Item {
    fn example() -> Self {
        let reason = Reason::Review;
        Self {
            stripe_id: "cus_NffrFeUfNV2Hib".to_owned(),
            reason: reason.as_str().to_owned(),
            next_step: reason.next_step().to_owned(),
            email: Some("bob@example.com".to_owned()),
            customer_id: Some(Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001)),
            link_to: None,
            retry_at: None,
            since: DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap_or_default(),
            dismissed_at: None,
        }
    }
}

/// Unmatched customers, newest first.
#[derive(Object, Serialize)]
#[oai(rename = "UnmatchedPage", example)]
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
    /// It as it is now.
    #[oai(status = 200)]
    Item(Json<Item>),
}

impl Found {
    pub(super) fn of(entry: &Model) -> Self {
        Self::Item(Json::of(&Item::from(entry)))
    }
}

/// The customer to link it to.
#[derive(Object)]
#[oai(example)]
pub(super) struct Linking {
    /// The id of a living customer that is not linked to a Stripe customer.
    pub(super) customer_id: Uuid,
}

impl Example for Linking {
    fn example() -> Self {
        Self {
            customer_id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
        }
    }
}

impl Input for Linking {
    type Schema = Self;

    fn read(mut members: Members) -> Result<Self, Problem> {
        let text = members.required("customer_id")?;
        let customer_id = Uuid::parse_str(&text).map_err(|_| {
            Problem::invalid("customer_id", "customer_id must be the id of a customer")
        })?;
        members.none_left()?;
        Ok(Self { customer_id })
    }
}
