//! A customer as it is kept: only what was set, in as little room as it takes, so that a million of them
//! fit a small machine.

use serde::{Deserialize, Serialize};

pub(crate) type Id = crate::world::id::Id<14>;

pub(crate) const PREFIX: &str = "cus_";

pub(crate) type Text = Option<Box<str>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Customer {
    pub(crate) id: Id,
    pub(crate) created: i64,
    /// When it last changed, in epoch milliseconds; a lagging search index goes by it.
    pub(crate) changed_ms: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) email: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Text,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) metadata: Vec<(Box<str>, Box<str>)>,
    /// What few customers have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rest: Option<Box<Rest>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Rest {
    pub(crate) address: Option<Address>,
    pub(crate) balance: i64,
    pub(crate) business_name: Text,
    pub(crate) individual_name: Text,
    pub(crate) invoice_footer: Text,
    pub(crate) invoice_prefix: Text,
    pub(crate) next_invoice_sequence: Option<i64>,
    pub(crate) preferred_locales: Vec<String>,
    pub(crate) shipping: Option<Shipping>,
    pub(crate) tax_exempt: Text,
    pub(crate) test_clock: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) city: Text,
    pub(crate) country: Text,
    pub(crate) line1: Text,
    pub(crate) line2: Text,
    pub(crate) postal_code: Text,
    pub(crate) state: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shipping {
    pub(crate) address: Address,
    pub(crate) name: Text,
    pub(crate) phone: Text,
}

impl Customer {
    pub(crate) fn new(id: Id, created: i64, changed_ms: i64) -> Self {
        Self {
            id,
            created,
            changed_ms,
            deleted: false,
            email: None,
            name: None,
            phone: None,
            description: None,
            metadata: Vec::new(),
            rest: None,
        }
    }

    /// What is left of it once deleted: Stripe still knows that the id was one.
    pub(crate) fn tombstone(&self, changed_ms: i64) -> Self {
        Self {
            deleted: true,
            ..Self::new(self.id, self.created, changed_ms)
        }
    }

    pub(crate) fn test_clock(&self) -> Option<&str> {
        self.rest
            .as_ref()
            .and_then(|rest| rest.test_clock.as_deref())
    }
}
