//! Reads a customer object of Stripe's: leniently where nothing depends on it, strictly where a guess would lose data.
//!
//! Unknown members and missing ones are fine, because Stripe adds and removes them between versions. A
//! member of another type than it should have is an error: taken for empty it would clear a field.

use serde_json::{Map, Value};

use crate::fields::{Field, Fields};
use crate::message::StripeCopy;
use crate::stamp::Stamps;

pub type Object = Map<String, Value>;

/// Metadata: the row that a customer was made for or linked to.
pub const CUSTOMER_ID: &str = "customer_sync_id";
/// Metadata: `true` once we let go of it.
pub const DETACHED: &str = "customer_sync_detached";

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

/// The customer as the object shows it, living or deleted, in canonical form.
pub fn copy(object: &Object) -> Result<StripeCopy, Unreadable> {
    let deleted = match object.get("deleted") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(deleted)) => *deleted,
        Some(_) => return Err(unreadable("a customer that is neither deleted nor not")),
    };
    let fields = Fields {
        email: text(object, "email")?,
        name: text(object, "name")?,
        phone: text(object, "phone")?,
        description: text(object, "description")?,
    };
    let metadata = |name: &str| {
        object
            .get("metadata")
            .and_then(|all| all.get(name))
            .and_then(Value::as_str)
    };
    let mut stamps = Stamps::default();
    for field in Field::ALL {
        // What a person has written there is no stamp, and no reason to stop.
        if let Some(stamp) = metadata(rev_of(field)).and_then(|text| text.parse().ok()) {
            stamps.set(field, stamp);
        }
    }
    Ok(StripeCopy {
        stripe_id: id(object)?,
        deleted,
        fields: if deleted {
            Fields::default()
        } else {
            fields.canonical()
        },
        // Nor is it anybody's id.
        customer_id: metadata(CUSTOMER_ID).and_then(|id| id.parse().ok()),
        stamps,
        detached: metadata(DETACHED) == Some("true"),
        created: created(object)?,
    })
}

/// Its id, if that can be one.
pub fn id(object: &Object) -> Result<String, Unreadable> {
    let id = object.get("id").and_then(Value::as_str);
    let id = id
        .filter(|id| is_id(id))
        .ok_or_else(|| unreadable("an object without an id"))?;
    Ok(id.to_owned())
}

fn text(object: &Object, name: &'static str) -> Result<Option<String>, Unreadable> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(unreadable(format!("a customer whose {name} is no text"))),
    }
}

/// Missing, it is the oldest of all times; it picks one of several customers and orders nothing else.
pub fn created(object: &Object) -> Result<i64, Unreadable> {
    match object.get("created") {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value
            .as_i64()
            .ok_or_else(|| unreadable("an object whose time of creation is no number")),
    }
}
