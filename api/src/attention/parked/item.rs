//! How a parked customer looks in JSON.

use chrono::{DateTime, Utc};
use entity::fields::Field;
use entity::parked::Reason;
use entity::{customer, stripe_link};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use crate::customers::Json;
use crate::header::tag_of;

/// A customer that waits for a person.
#[derive(Object, Serialize)]
#[oai(rename = "ParkedCustomer", example)]
pub(super) struct Item {
    customer_id: Uuid,
    email: String,
    /// Whether the customer is deleted here: then it is its deletion that waits.
    deleted: bool,
    /// The revision of the customer; the ETag.
    customer_rev: i64,
    /// The revision that is not sent as long as it is parked.
    rev: i64,
    #[oai(nullable)]
    stripe_id: Option<String>,
    /// What to compare in a program: a code of ours, or Stripe's own for a value that it refused.
    reason: String,
    /// What happened, in Stripe's words where it was Stripe that refused.
    detail: String,
    /// What a person can do.
    next_step: String,
    /// Stripe's id of the request that it refused.
    #[oai(nullable)]
    request_id: Option<String>,
    /// The fields in which the two sides are not in step.
    values: Vec<Values>,
    since: DateTime<Utc>,
    #[oai(nullable)]
    dismissed_at: Option<DateTime<Utc>>,
}

/// The values of a field.
#[derive(Object, Serialize)]
#[oai(rename = "ParkedValues", example)]
struct Values {
    field: String,
    /// What both sides last agreed on.
    #[oai(nullable)]
    base: Option<String>,
    /// What is here.
    #[oai(nullable)]
    database: Option<String>,
    /// What Stripe has, as it was last seen.
    #[oai(nullable)]
    stripe: Option<String>,
}

impl Item {
    pub(super) fn of(row: &customer::Model, link: &stripe_link::Model) -> Self {
        let code = link.parked_reason.clone().unwrap_or_default();
        let reason = Reason::of(&code);
        Self {
            customer_id: row.id,
            email: row.email.clone(),
            deleted: row.is_deleted(),
            customer_rev: row.rev,
            rev: link.parked_rev.unwrap_or(row.rev),
            stripe_id: link.stripe_id.clone(),
            reason: code,
            detail: link.parked_detail.clone().unwrap_or_default(),
            next_step: reason.next_step().to_owned(),
            request_id: link.parked_request_id.clone(),
            values: values(row, link, reason),
            since: link.parked_at.unwrap_or(link.updated_at),
            dismissed_at: link.parked_dismissed_at,
        }
    }
}

fn values(row: &customer::Model, link: &stripe_link::Model, reason: Reason) -> Vec<Values> {
    let (base, ours) = (link.base_or_empty(), row.fields());
    let is_email = matches!(
        reason,
        Reason::EmailTaken | Reason::EmailRemovedInStripe | Reason::EmailInvalidInStripe
    );
    let is_deleted = matches!(reason, Reason::DeletedInStripe | Reason::DeletionRefused);
    let mut fields = ours.differing(&base);
    if is_email && !fields.contains(&Field::Email) {
        fields.insert(0, Field::Email);
    }
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let shown = fields.into_iter().map(|field| Values {
        field: field.to_string(),
        base: owned(base.get(field)),
        database: owned(ours.get(field)),
        stripe: match field {
            _ if is_deleted => None,
            Field::Email if is_email => link.parked_stripe_value.clone(),
            field => owned(base.get(field)),
        },
    });
    shown.collect()
}

impl Example for Values {
    fn example() -> Self {
        Self {
            field: "email".to_owned(),
            base: Some("bob@example.com".to_owned()),
            database: Some("bob@example.com".to_owned()),
            stripe: Some("al@example.com".to_owned()),
        }
    }
}

impl Example for Item {
    fn example() -> Self {
        let reason = Reason::EmailTaken;
        Self {
            customer_id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
            email: "bob@example.com".to_owned(),
            deleted: false,
            customer_rev: 3,
            rev: 3,
            stripe_id: Some("cus_NffrFeUfNV2Hib".to_owned()),
            reason: reason.as_str().to_owned(),
            detail: "another customer here has the e-mail that this one has in Stripe".to_owned(),
            next_step: reason.next_step().to_owned(),
            request_id: None,
            values: vec![Values::example()],
            since: DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap_or_default(),
            dismissed_at: None,
        }
    }
}

/// Parked customers, newest first.
#[derive(Object, Serialize)]
#[oai(rename = "ParkedPage", example)]
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
    /// The parked customer.
    #[oai(status = 200)]
    Item(
        Json<Item>,
        /// The revision of the customer, for If-Match.
        #[oai(header = "ETag")]
        String,
    ),
}

impl Found {
    pub(super) fn of(row: &customer::Model, link: &stripe_link::Model) -> Self {
        Self::Item(Json::of(&Item::of(row, link)), tag_of(row.rev))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ParkedDone", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    Retried,
    Dismissed,
    Resolved,
}

/// What was decided. What comes of it is shown by the customer and the state of its sync.
#[derive(Object, Serialize)]
#[oai(rename = "ParkedDecision", example)]
pub(super) struct Decision {
    done: Done,
    customer_id: Uuid,
    /// The revision of the customer after it.
    customer_rev: i64,
    /// Whether the customer is deleted here now.
    deleted: bool,
}

impl Example for Decision {
    fn example() -> Self {
        Self {
            done: Done::Resolved,
            customer_id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
            customer_rev: 4,
            deleted: false,
        }
    }
}

#[derive(ApiResponse)]
pub(super) enum Decided {
    /// It is decided and committed; the worker does what follows.
    #[oai(status = 200)]
    Decision(
        Json<Decision>,
        /// The revision of the customer.
        #[oai(header = "ETag")]
        String,
    ),
}

impl Decided {
    pub(super) fn of(done: Done, row: &customer::Model) -> Self {
        let decision = Decision {
            done,
            customer_id: row.id,
            customer_rev: row.rev,
            deleted: row.is_deleted(),
        };
        Self::Decision(Json::of(&decision), tag_of(row.rev))
    }
}
