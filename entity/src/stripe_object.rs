//! Reads a customer object of Stripe's: leniently where nothing depends on it, strictly where a guess would lose data.
//!
//! Unknown members and missing ones are fine, because Stripe adds and removes them between versions. A
//! member of another type than it should have is an error: taken for empty it would clear a field.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fields::{Field, Fields, canonical, canonical_part};
use crate::fingerprint::{self, Values};
use crate::message::StripeCopy;
use crate::stamp::Stamps;

use member::Member;
pub use replaced::{Before, Replaced, replaced};

mod member;
mod replaced;

pub type Object = Map<String, Value>;

/// What Stripe shows in the place of personal data that a redaction job has removed.
pub const REDACTED: &str = "[redacted]";

/// Metadata: the row that a customer was made for or linked to.
pub const CUSTOMER_ID: &str = "customer_sync_id";
/// Metadata: the id that the application has for the row.
pub const EXTERNAL_ID: &str = "customer_sync_external_id";
/// Metadata: `true` once we let go of it.
pub const DETACHED: &str = "customer_sync_detached";
const YES: &str = "true";

/// Metadata: our last write to a field, a [`crate::stamp::Stamp`].
pub fn rev_of(field: Field) -> &'static str {
    match field {
        Field::Email => "customer_sync_rev_email",
        Field::Name => "customer_sync_rev_name",
        Field::Phone => "customer_sync_rev_phone",
        Field::Description => "customer_sync_rev_description",
    }
}

/// Why an answer can't be read. Quotes nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

pub fn unreadable(what: impl Into<String>) -> Unreadable {
    Unreadable(what.into())
}

/// Whether a text can be an id of Stripe's, in a path and in the database.
pub fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !matches!(text, "." | "..")
}

/// A customer object, as far as anything depends on it. Borrows from the answer, so that a page of them is read at
/// little cost.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Customer<'a> {
    #[serde(borrow)]
    id: Member<'a>,
    object: Member<'a>,
    deleted: Member<'a>,
    created: Member<'a>,
    livemode: Member<'a>,
    email: Member<'a>,
    name: Member<'a>,
    phone: Member<'a>,
    description: Member<'a>,
    metadata: Member<'a>,
}

/// A customer as a full pass looks at it first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    pub stripe_id: String,
    /// Unix seconds.
    pub created: i64,
    /// None of a deleted one, and of one that cannot be read.
    pub fingerprint: Option<i64>,
    /// False if all that is known of it is its id.
    pub is_readable: bool,
}

impl Outline {
    /// One of which all that is known is its id.
    pub fn unreadable(stripe_id: impl Into<String>) -> Self {
        Self {
            stripe_id: stripe_id.into(),
            created: 0,
            fingerprint: None,
            is_readable: false,
        }
    }
}

impl Customer<'_> {
    /// Whether it calls itself a customer.
    pub fn is_customer(&self) -> bool {
        self.object.text() == Some("customer")
    }

    /// Its mode, where it names one. A deleted customer does not.
    pub fn livemode(&self) -> Option<bool> {
        match self.livemode {
            Member::Flag(livemode) => Some(livemode),
            _ => None,
        }
    }

    /// Whether it names any field at all. Stripe names every field, those that are null too.
    pub fn has_fields(&self) -> bool {
        Field::ALL
            .iter()
            .any(|field| *self.field(*field) != Member::Missing)
    }

    /// What it shows, living or deleted, in canonical form.
    ///
    /// # Errors
    /// It has no usable id, or a member of another type than it should have.
    pub fn copy(&self) -> Result<StripeCopy, Unreadable> {
        let deleted = self.is_deleted()?;
        let values = self.values()?;
        let mut copy = StripeCopy {
            stripe_id: self.id()?.to_owned(),
            deleted,
            fields: Fields::default(),
            customer_id: None,
            external_id: None,
            stamps: Stamps::default(),
            detached: false,
            created: self.created()?,
            unreadable: false,
        };
        if !deleted {
            for (field, value) in Field::ALL.into_iter().zip(values) {
                copy.fields.set(field, value.map(Cow::into_owned));
            }
        }
        for (name, value) in self.metadata.entries() {
            take(&mut copy, name, value);
        }
        Ok(copy)
    }

    /// As much of [`Self::copy`] as tells whether it is worth making. It fails where that does.
    pub fn outline(&self) -> Result<Outline, Unreadable> {
        let deleted = self.is_deleted()?;
        let values = self.values()?;
        let stripe_id = self.id()?;
        let mut marks = self
            .metadata
            .entries()
            .filter(|(name, _)| *name == DETACHED);
        let detached = marks.any(|(_, mark)| mark.text() == Some(YES));
        Ok(Outline {
            fingerprint: (!deleted).then(|| fingerprint::of_shown(stripe_id, &values, detached)),
            created: self.created()?,
            stripe_id: stripe_id.to_owned(),
            is_readable: true,
        })
    }

    /// Its id, if that can be one.
    pub fn known_id(&self) -> Option<&str> {
        self.id().ok()
    }

    fn id(&self) -> Result<&str, Unreadable> {
        checked(self.id.text())
    }

    fn is_deleted(&self) -> Result<bool, Unreadable> {
        match self.deleted {
            Member::Missing | Member::Null => Ok(false),
            Member::Flag(deleted) => Ok(deleted),
            _ => Err(unreadable("a customer that is neither deleted nor not")),
        }
    }

    fn created(&self) -> Result<i64, Unreadable> {
        match self.created {
            // The oldest of all times; it picks one of several customers and orders nothing else.
            Member::Missing | Member::Null => Ok(0),
            Member::Number(created) => Ok(created),
            _ => Err(no_time()),
        }
    }

    fn values(&self) -> Result<Values<'_>, Unreadable> {
        let mut values = Values::default();
        for (field, value) in Field::ALL.into_iter().zip(&mut values) {
            *value = match self.field(field) {
                Member::Missing | Member::Null => None,
                Member::Text(text) => canonical_part(text),
                _ => return Err(unreadable(format!("a customer whose {field} is no text"))),
            };
        }
        Ok(values)
    }

    fn field(&self, field: Field) -> &Member<'_> {
        match field {
            Field::Email => &self.email,
            Field::Name => &self.name,
            Field::Phone => &self.phone,
            Field::Description => &self.description,
        }
    }
}

/// Takes an entry of the metadata, if it is one of ours. What a person has written there is no id and no stamp, and no
/// reason to stop.
fn take(copy: &mut StripeCopy, name: &str, value: &Member<'_>) {
    let Some(text) = value.text() else {
        return;
    };
    if name == CUSTOMER_ID {
        copy.customer_id = text.parse().ok();
    } else if name == EXTERNAL_ID {
        copy.external_id = canonical(text);
    } else if name == DETACHED {
        copy.detached = text == YES;
    } else if let Some(field) = Field::ALL.into_iter().find(|field| rev_of(*field) == name)
        && let Ok(stamp) = text.parse()
    {
        copy.stamps.set(field, stamp);
    }
}

/// The customer as an object shows it that was read already.
pub fn copy(object: &Object) -> Result<StripeCopy, Unreadable> {
    let customer = Customer::deserialize(object).map_err(|_| unreadable("not an object"))?;
    customer.copy()
}

/// Its id, if that can be one.
pub fn id(object: &Object) -> Result<String, Unreadable> {
    checked(object.get("id").and_then(Value::as_str)).map(str::to_owned)
}

fn checked(id: Option<&str>) -> Result<&str, Unreadable> {
    let id = id.filter(|id| is_id(id));
    id.ok_or_else(|| unreadable("an object without an id"))
}

/// When it was made; the oldest of all times where it does not say.
pub fn created(object: &Object) -> Result<i64, Unreadable> {
    match object.get("created") {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value.as_i64().ok_or_else(no_time),
    }
}

fn no_time() -> Unreadable {
    unreadable("an object whose time of creation is no number")
}
