//! What crosses the broker. Every message is a hint, "look at this customer": state decides, never
//! the message, so a lost, doubled or reordered one costs time only.

use chrono::{DateTime, Utc};
use sea_orm::prelude::{DeriveActiveEnum, EnumIter, Json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::customer;
use crate::fields::{Field, Fields};
use crate::stamp::Stamps;
use crate::stripe_object::REDACTED;

/// The exchange to which other applications bind queues of their own.
pub const EXCHANGE: &str = "customer-sync";
/// Queue of changes on their way to Stripe.
pub const UPSYNC: &str = "customer.upsync";
/// Queue of differences found in Stripe; only the worker publishes to it.
pub const DOWNSYNC: &str = "customer.downsync";
/// All queues, each with the routing keys of the events that it receives; both are declared at every
/// start.
pub const QUEUES: [(&str, &[&str]); 2] = [(UPSYNC, &CHANGES), (DOWNSYNC, &[])];
/// The routing keys of changes.
pub const CHANGES: [&str; 3] = [CREATED, UPDATED, DELETED];
pub(crate) const CREATED: &str = "customer.created";
pub(crate) const UPDATED: &str = "customer.updated";
pub(crate) const DELETED: &str = "customer.deleted";
/// The schema of [`Changed`], as events name it: `entity/schema/customer.json`.
pub const SCHEMA: &str = "urn:customer-sync:schema:customer:1";
/// The CloudEvents source of internal messages; that of changes is [`crate::installation::source`].
pub const SOURCE: &str = "/customer-sync";
/// The CloudEvents type of a [`Drift`].
pub const DRIFT: &str = "customer.drift";

/// The state of a customer at one rev: the data of a change's event.
///
/// The sync worker uses only the id; the rest is for other consumers. Fields may be added; a
/// consumer must ignore those that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub id: Uuid,
    pub rev: i64,
    #[serde(default)]
    pub origin: Origin,
    pub email: String,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub description: Option<String>,
    #[serde(default)]
    pub external_id: Option<String>,
    pub deleted: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a change was made.
#[derive(
    Copy, Clone, Debug, Default, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Origin {
    /// By an application or an operator, through this service: it is to be pushed to Stripe.
    #[default]
    Application,
    /// In Stripe, which has it already.
    Stripe,
}

impl Changed {
    pub fn of(customer: &customer::Model, origin: Origin) -> Self {
        Self {
            id: customer.id,
            rev: customer.rev,
            origin,
            email: customer.email.clone(),
            name: customer.name.clone(),
            phone: customer.phone.clone(),
            description: customer.description.clone(),
            external_id: customer.external_id.clone(),
            deleted: customer.is_deleted(),
            created_at: customer.created_at,
            updated_at: customer.updated_at,
        }
    }

    pub fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("texts, numbers and times are JSON")
    }
}

/// A difference between Stripe's copy and the base: the body of a downsync message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    pub copy: StripeCopy,
    /// The moment before the copy was read. A copy that is older than the latest thing we know of this
    /// customer proves nothing.
    pub read_at: Moment,
}

/// A moment by the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyMoment")]
pub struct Moment {
    /// The database's clock, which may step forward and back: for people, and to measure about how long ago it was.
    pub at: DateTime<Utc>,
    /// Above that of every moment before: this alone says which of two was earlier.
    pub order: i64,
}

/// As it is written, or as an older version has written it: a time alone, which is before everything that is known.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyMoment {
    Moment { at: DateTime<Utc>, order: i64 },
    Time(DateTime<Utc>),
}

impl From<AnyMoment> for Moment {
    fn from(any: AnyMoment) -> Self {
        match any {
            AnyMoment::Moment { at, order } => Self { at, order },
            AnyMoment::Time(at) => Self { at, order: 0 },
        }
    }
}

/// A customer as Stripe showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripeCopy {
    pub stripe_id: String,
    /// Stripe answered `deleted: true`; there are no fields then.
    pub deleted: bool,
    pub fields: Fields,
    /// `metadata.customer_sync_id`: the row it was created for or linked to.
    pub customer_id: Option<Uuid>,
    /// `metadata.customer_sync_external_id`.
    #[serde(default)]
    pub external_id: Option<String>,
    /// `metadata.customer_sync_rev_<field>`: our last write to each field.
    #[serde(default)]
    pub stamps: Stamps,
    /// `metadata.customer_sync_detached`: we let go of it when the row was deleted.
    pub detached: bool,
    /// Unix seconds.
    pub created: i64,
    /// Stripe has it, and nothing but its id can be read: it is neither absent nor deleted, and has no fields here.
    #[serde(default)]
    pub unreadable: bool,
}

impl StripeCopy {
    /// A customer of which all that is known is its id.
    pub fn unreadable(stripe_id: impl Into<String>) -> Self {
        Self {
            stripe_id: stripe_id.into(),
            deleted: false,
            fields: Fields::default(),
            customer_id: None,
            external_id: None,
            stamps: Stamps::default(),
            detached: false,
            created: 0,
            unreadable: true,
        }
    }

    /// Whether a redaction job has removed personal data of it.
    pub fn is_redacted(&self) -> bool {
        let mut values = Field::ALL.into_iter().map(|field| self.fields.get(field));
        values.any(|value| value == Some(REDACTED))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn changed() -> Changed {
        Changed {
            id: Uuid::nil(),
            rev: 1,
            origin: Origin::Stripe,
            email: "ada@example.com".to_owned(),
            name: None,
            phone: None,
            description: None,
            external_id: None,
            deleted: false,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_schema_describes_every_field_of_a_change() {
        let schema: Json = serde_json::from_str(include_str!("../schema/customer.json")).unwrap();
        assert_eq!(schema["$id"], SCHEMA);
        let Json::Object(fields) = changed().to_json() else {
            panic!("a change is an object");
        };
        let fields: BTreeSet<_> = fields.keys().cloned().collect();
        let described = schema["properties"].as_object().unwrap().keys().cloned();
        assert_eq!(fields, described.collect());
        let required = schema["required"].as_array().unwrap().iter();
        let required = required.map(|name| name.as_str().unwrap().to_owned());
        assert_eq!(fields, required.collect());
    }

    #[test]
    fn a_change_without_an_origin_is_the_applications() {
        let Json::Object(mut fields) = changed().to_json() else {
            panic!("a change is an object");
        };
        fields.remove("origin");
        let changed: Changed = serde_json::from_value(fields.into()).unwrap();
        assert_eq!(changed.origin, Origin::Application);
    }
}
