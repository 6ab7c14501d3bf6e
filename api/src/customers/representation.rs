//! How a customer looks in JSON, in bodies that come and in answers that go.

use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use entity::customer::Model;
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, MaybeUndefined, Type};
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use uuid::Uuid;

use super::sync::{Status, Summary};
use crate::header::tag_of;
use crate::idempotency::Answer;

/// A customer at one revision.
#[derive(Object, Serialize)]
#[oai(example)]
pub(crate) struct Customer {
    id: Uuid,
    /// The id that the application has for it. No two living customers have the same one.
    #[oai(nullable)]
    external_id: Option<String>,
    /// The id of the Stripe customer that it is linked to.
    #[oai(nullable)]
    stripe_id: Option<String>,
    /// How far it is synchronised with Stripe. This and `stripe_id` may change at the same revision.
    sync_status: Status,
    /// As it was given. No two living customers have the same one: case and the form of the domain (Unicode or xn--) are
    /// not compared.
    email: String,
    #[oai(nullable)]
    name: Option<String>,
    #[oai(nullable)]
    phone: Option<String>,
    #[oai(nullable)]
    description: Option<String>,
    /// Goes up by one with every change, whoever makes it; the ETag.
    rev: i64,
    /// Whether this is what is left of a deleted customer.
    deleted: bool,
    #[oai(nullable)]
    deleted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Customer {
    pub(crate) fn of(row: &Model, summary: Summary) -> Self {
        Self {
            id: row.id,
            external_id: row.external_id.clone(),
            stripe_id: summary.stripe_id,
            sync_status: summary.status,
            email: row.email.clone(),
            name: row.name.clone(),
            phone: row.phone.clone(),
            description: row.description.clone(),
            rev: row.rev,
            deleted: row.is_deleted(),
            deleted_at: row.deleted_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Example for Customer {
    fn example() -> Self {
        let at = DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap_or_default();
        Self {
            id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
            external_id: Some("user-42".to_owned()),
            stripe_id: Some("cus_NffrFeUfNV2Hib".to_owned()),
            sync_status: Status::Synced,
            email: "bob@example.com".to_owned(),
            name: Some("Bob".to_owned()),
            phone: Some("+41 44 668 18 00".to_owned()),
            description: None,
            rev: 1,
            deleted: false,
            deleted_at: None,
            created_at: at,
            updated_at: at,
        }
    }
}

/// A body that is text already, with the schema of a `T`.
pub(crate) struct Json<T>(String, PhantomData<fn() -> T>);

impl<T> Json<T> {
    pub(super) fn text(text: String) -> Self {
        Self(text, PhantomData)
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl<T: Serialize> Json<T> {
    pub(crate) fn of(value: &T) -> Self {
        Self::text(serde_json::to_string(value).expect("texts, numbers and times are JSON"))
    }
}

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type("application/json")
            .body(self.0)
    }
}

#[derive(ApiResponse)]
pub(super) enum Created {
    /// The customer was created; it will be in Stripe soon.
    #[oai(status = 201)]
    Customer(
        Json<Customer>,
        /// The revision, for If-Match.
        #[oai(header = "ETag")]
        String,
        /// The path of the customer.
        #[oai(header = "Location")]
        String,
        /// `true` when this is the answer that an earlier request with this Idempotency-Key had.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

impl Created {
    pub(super) fn answer((answer, is_repeated): (Answer, bool)) -> Self {
        Self::Customer(
            Json::text(answer.body),
            answer.etag,
            answer.location,
            is_repeated.then_some(true),
        )
    }
}

/// The answer to a create, as text, because it may have to be kept.
pub(super) fn created(row: &Model, stripe_id: Option<String>) -> Answer {
    let summary = Summary {
        stripe_id,
        ..Summary::NEW
    };
    Answer {
        status: 201,
        body: Json::of(&Customer::of(row, summary)).0,
        etag: tag_of(row.rev),
        location: format!("/api/v1/customers/{}", row.id),
    }
}

/// A customer as a change has left it.
pub(super) type Written = (Model, Summary);

#[derive(ApiResponse)]
pub(super) enum Updated {
    /// The customer as it is now.
    #[oai(status = 200)]
    Customer(
        Json<Customer>,
        /// The revision, for If-Match.
        #[oai(header = "ETag")]
        String,
    ),
}

impl From<Written> for Updated {
    fn from((row, summary): Written) -> Self {
        let tag = tag_of(row.rev);
        Self::Customer(Json::of(&Customer::of(&row, summary)), tag)
    }
}

#[derive(ApiResponse)]
pub(super) enum Deleted {
    /// What is left of the customer: its last values, at a new revision, with `deleted` set.
    #[oai(status = 200)]
    Customer(
        Json<Customer>,
        /// The revision of the delete.
        #[oai(header = "ETag")]
        String,
    ),
}

impl From<Written> for Deleted {
    fn from((row, summary): Written) -> Self {
        let tag = tag_of(row.rev);
        Self::Customer(Json::of(&Customer::of(&row, summary)), tag)
    }
}

#[derive(ApiResponse)]
pub(super) enum Found {
    /// The customer.
    #[oai(status = 200)]
    Customer(
        Json<Customer>,
        /// The revision, for If-Match and If-None-Match.
        #[oai(header = "ETag")]
        String,
    ),
    /// The customer is still at a revision that If-None-Match names.
    #[oai(status = 304)]
    NotModified(
        /// The revision.
        #[oai(header = "ETag")]
        String,
    ),
}

impl Found {
    pub(super) fn of(row: &Model, summary: Summary) -> Self {
        Self::Customer(Json::of(&Customer::of(row, summary)), tag_of(row.rev))
    }
}

/// Null and absent are one.
pub(super) fn present(text: MaybeUndefined<String>) -> Option<String> {
    match text {
        MaybeUndefined::Value(text) => Some(text),
        MaybeUndefined::Null | MaybeUndefined::Undefined => None,
    }
}
