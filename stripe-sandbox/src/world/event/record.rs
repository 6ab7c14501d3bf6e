//! Events: what happened to which customer, with the customer as it was then.

use std::sync::Arc;

use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use crate::world::customer::Customer;
use crate::world::customer::view::View;

pub(crate) type Id = crate::world::id::Id<24>;
pub(crate) type RequestId = crate::world::id::Id<14>;

pub(crate) const PREFIX: &str = "evt_";

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    #[serde(rename = "customer.created")]
    Created,
    #[serde(rename = "customer.updated")]
    Updated,
    #[serde(rename = "customer.deleted")]
    Deleted,
}

/// An event without the customer it shows.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Head {
    pub(crate) id: Id,
    pub(crate) created: i64,
    pub(crate) kind: Kind,
    /// `previous_attributes` as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Box<str>>,
    /// The API request that caused it; None for a human's edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<RequestId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency_key: Option<Box<str>>,
    /// Endpoints that have not taken it yet.
    #[serde(default)]
    pub(crate) pending: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) head: Head,
    pub(crate) object: Arc<Customer>,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "customer.created",
            Self::Updated => "customer.updated",
            Self::Deleted => "customer.deleted",
        }
    }
}

/// Whether an event type is meant by a name, which may end in a wildcard as in `customer.*`.
pub(crate) fn type_matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => pattern == kind,
    }
}

/// Renders as Stripe's `event`.
pub(crate) struct EventView<'a> {
    pub(crate) event: &'a Event,
    pub(crate) api_version: &'a str,
    pub(crate) livemode: bool,
}

#[derive(serde::Serialize)]
struct Full<'a> {
    id: String,
    object: &'static str,
    api_version: &'a str,
    created: i64,
    data: Data<'a>,
    livemode: bool,
    pending_webhooks: u32,
    request: Request<'a>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(serde::Serialize)]
struct Data<'a> {
    object: View<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_attributes: Option<Value>,
}

#[derive(serde::Serialize)]
struct Request<'a> {
    id: Option<String>,
    idempotency_key: Option<&'a str>,
}

impl Serialize for EventView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = &self.event.head;
        Full {
            id: head.id.with_prefix(PREFIX),
            object: "event",
            api_version: self.api_version,
            created: head.created,
            data: Data {
                object: View {
                    customer: &self.event.object,
                    livemode: self.livemode,
                },
                previous_attributes: head
                    .previous
                    .as_deref()
                    .and_then(|text| serde_json::from_str(text).ok()),
            },
            livemode: self.livemode,
            pending_webhooks: head.pending,
            request: Request {
                id: head.request.map(|id| id.with_prefix("req_")),
                idempotency_key: head.idempotency_key.as_deref(),
            },
            kind: head.kind.name(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::type_matches;

    #[test]
    fn a_wildcard_covers_what_begins_like_it() {
        assert!(type_matches("customer.*", "customer.created"));
        assert!(type_matches("*", "customer.created"));
        assert!(type_matches("customer.created", "customer.created"));
        assert!(!type_matches("customer", "customer.created"));
    }
}
