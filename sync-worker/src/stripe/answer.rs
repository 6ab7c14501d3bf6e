//! Reads Stripe's answers: leniently where nothing depends on it, strictly where a guess would lose data.
//!
//! Unknown members, unknown enum values and missing members are fine, because Stripe adds and
//! removes them between versions. What has no usable id, or a member of another type than it should
//! have, is an error: taken for empty it would clear a field, left out of a list it would look deleted.
//!
//! Every answer is compared with its request: object, id and mode. What does not match answers another request.

use entity::email::normal_form;
use entity::message::StripeCopy;
use entity::stripe_event::{Event, KINDS};
use entity::stripe_object::{
    Customer, Object, Outline, Unreadable, copy, created, id, replaced, unreadable,
};
use entity::text::with_nuls;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::mode::Mode;
use super::page::Page;

/// Why an answer of status 2xx is not taken. Quotes nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    /// It cannot be read.
    Unparsed(String),
    /// It can be read, and answers another request.
    Mismatched(String),
}

impl From<Unreadable> for Invalid {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self::Unparsed(what)
    }
}

pub(super) fn mismatched(what: &str) -> Invalid {
    Invalid::Mismatched(what.to_owned())
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    // At once, and not text by text.
    let body = std::str::from_utf8(body).map_err(|_| unreadable("no UTF-8"))?;
    // serde_json's own words may quote the value at fault.
    serde_json::from_str(body).map_err(|error| {
        let what = if error.is_data() {
            "JSON of another form"
        } else {
            "no JSON"
        };
        let (line, column) = (error.line(), error.column());
        unreadable(format!("{what}, at line {line} column {column}"))
    })
}

/// Reads a body, and once more without what no text can hold, so that one value of one customer blocks no other.
fn read<T, E>(body: &[u8], reader: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, E> {
    reader(body).or_else(|error| reader(with_nuls(body).as_bytes()).map_err(|_| error))
}

pub(super) fn object(body: &[u8]) -> Result<Object, Unreadable> {
    read(body, |body| parsed(body))
}

/// The customer `id`, living or deleted.
pub(super) fn customer_with_id(body: &[u8], id: &str, mode: &Mode) -> Result<StripeCopy, Invalid> {
    let copy = customer(body, mode)?;
    if copy.stripe_id == id {
        Ok(copy)
    } else {
        Err(mismatched("another customer than the one asked for"))
    }
}

/// The customer `id`, living or deleted, or one of which no more than that can be read.
pub(super) fn retrieved(body: &[u8], id: &str, mode: &Mode) -> Result<StripeCopy, Invalid> {
    let copy = read(body, |body| listed(&parsed(body)?, mode))?;
    if copy.stripe_id == id {
        Ok(copy)
    } else {
        Err(mismatched("another customer than the one asked for"))
    }
}

/// A customer, living or deleted.
pub(super) fn customer(body: &[u8], mode: &Mode) -> Result<StripeCopy, Invalid> {
    read(body, |body| checked(&parsed(body)?, mode))
}

fn checked(customer: &Customer<'_>, mode: &Mode) -> Result<StripeCopy, Invalid> {
    mode.check(customer.livemode())?;
    let copy = customer.copy()?;
    check(customer, copy.deleted)?;
    Ok(copy)
}

fn outlined(customer: &Customer<'_>) -> Result<Outline, Invalid> {
    let outline = customer.outline()?;
    check(customer, outline.fingerprint.is_none())?;
    Ok(outline)
}

fn check(customer: &Customer<'_>, is_deleted: bool) -> Result<(), Invalid> {
    if !customer.is_customer() {
        Err(mismatched("not a customer object"))
    } else if !is_deleted && !customer.has_fields() {
        Err(unreadable("a customer object without fields").into())
    } else {
        Ok(())
    }
}

/// A customer of a list. One that cannot be read spoils no other: its id is all that is known of it.
fn listed(customer: &Customer<'_>, mode: &Mode) -> Result<StripeCopy, Invalid> {
    match checked(customer, mode) {
        Err(Invalid::Unparsed(why)) => match unreadable_id(customer) {
            Some(id) => Ok(StripeCopy::unreadable(id)),
            None => Err(Invalid::Unparsed(why)),
        },
        read => read,
    }
}

fn unreadable_id<'a>(customer: &'a Customer<'_>) -> Option<&'a str> {
    customer.known_id().filter(|_| customer.is_customer())
}

/// That the customer `id` is deleted.
pub(super) fn deleted(body: &[u8], id: &str, mode: &Mode) -> Result<(), Invalid> {
    let object = object(body)?;
    mode.check(object.get("livemode").and_then(Value::as_bool))?;
    if self::id(&object)? != id || object.get("object").and_then(Value::as_str) != Some("customer")
    {
        Err(mismatched("another object than the one to delete"))
    } else if object.get("deleted") != Some(&Value::Bool(true)) {
        Err(mismatched("a customer that is not deleted"))
    } else {
        Ok(())
    }
}

/// A list, as far as anything depends on it.
#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    /// Without it nobody can tell a whole list from the start of one.
    has_more: bool,
}

/// The customers of a page; of those with `email`, if only those were asked for.
pub(super) fn customers(
    body: &[u8],
    email: Option<&str>,
    mode: &Mode,
) -> Result<Page<StripeCopy>, Invalid> {
    read(body, |body| customers_of(body, email, mode))
}

fn customers_of(
    body: &[u8],
    email: Option<&str>,
    mode: &Mode,
) -> Result<Page<StripeCopy>, Invalid> {
    let List { data, has_more } = parsed::<List<Customer<'_>>>(body)?;
    let items: Vec<_> = data
        .iter()
        .map(|customer| listed(customer, mode))
        .collect::<Result<_, _>>()?;
    let asked = email.map(normal_form);
    let has_email = |copy: &StripeCopy| {
        let shown = || normal_form(copy.fields.email.as_deref().unwrap_or_default());
        copy.unreadable
            || copy.is_redacted()
            || asked.as_ref().is_none_or(|asked| *asked == shown())
    };
    if !items.iter().all(has_email) {
        return Err(mismatched(
            "customers with another e-mail than was asked for",
        ));
    }
    Ok(Page {
        cursor: items.last().map(|copy| copy.stripe_id.clone()),
        items,
        has_more,
    })
}

/// A customer of a list, outlined as soon as it is there, so that nothing else of the page is kept.
struct Item {
    outline: Result<Outline, Invalid>,
    livemode: Option<bool>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let customer = Customer::deserialize(deserializer)?;
        let outline = outlined(&customer).or_else(|invalid| match unreadable_id(&customer) {
            Some(id) if matches!(invalid, Invalid::Unparsed(_)) => Ok(Outline::unreadable(id)),
            _ => Err(invalid),
        });
        Ok(Self {
            outline,
            livemode: customer.livemode(),
        })
    }
}

pub(super) fn outlines(body: &[u8], mode: &Mode) -> Result<Page<Outline>, Invalid> {
    read(body, |body| outlines_of(body, mode))
}

fn outlines_of(body: &[u8], mode: &Mode) -> Result<Page<Outline>, Invalid> {
    let List { data, has_more } = parsed::<List<Item>>(body)?;
    let mut items = Vec::with_capacity(data.len());
    for Item { outline, livemode } in data {
        mode.check(livemode)?;
        items.push(outline?);
    }
    Ok(Page {
        cursor: items.last().map(|outline| outline.stripe_id.clone()),
        items,
        has_more,
    })
}

/// The events of a page that are ours: of the types that were asked for, and not of a connected account.
pub(super) fn events(body: &[u8], mode: &Mode) -> Result<Page<Event>, Invalid> {
    let List { data, has_more } = read(body, |body| parsed::<List<Object>>(body))?;
    let mut page = Page {
        items: Vec::with_capacity(data.len()),
        has_more,
        cursor: None,
    };
    for object in &data {
        let id = id(object)?;
        let kind = object.get("object").and_then(Value::as_str);
        if kind.is_some_and(|kind| kind != "event") {
            return Err(mismatched("objects that are no events"));
        }
        mode.check(object.get("livemode").and_then(Value::as_bool))?;
        if is_of_connected_account(object) {
            tracing::warn!(event.id = %id, "an event of a connected account is left out");
        } else {
            match event(object) {
                Ok(event) => page.items.extend(event),
                // It says "read this customer again", and the full pass reads every customer.
                Err(Unreadable(why)) => {
                    tracing::warn!(event.id = %id, why, "an event that cannot be read is left out");
                }
            }
        }
        page.cursor = Some(id);
    }
    Ok(page)
}

/// An event of a connected account names that account; one of the key's own account names none.
fn is_of_connected_account(event: &Object) -> bool {
    event.get("account").is_some_and(Value::is_string)
}

/// The objects of a list.
pub(super) fn objects(body: &[u8]) -> Result<Vec<Object>, Unreadable> {
    Ok(read(body, |body| parsed::<List<Object>>(body))?.data)
}

/// None of a type that was not asked for: its object may be no customer at all.
fn event(object: &Object) -> Result<Option<Event>, Unreadable> {
    let kind = object.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| unreadable("an event without a type"))?;
    if !KINDS.contains(&kind) {
        return Ok(None);
    }
    let data = object.get("data");
    let customer = data
        .and_then(|data| data.get("object"))
        .and_then(Value::as_object)
        .ok_or_else(|| unreadable("an event without an object"))?;
    Ok(Some(Event {
        id: id(object)?,
        kind: kind.to_owned(),
        stripe_id: self::id(customer)?,
        // Nothing is ordered by it.
        created: created(object).unwrap_or_default(),
        copy: copy(customer).ok(),
        replaced: data.and_then(replaced),
    }))
}

/// The account's id, and its mode where the server says it; Stripe's account object does not.
pub(super) fn account(body: &[u8], mode: &Mode) -> Result<String, Invalid> {
    let object = object(body)?;
    let kind = object.get("object").and_then(Value::as_str);
    if kind.is_some_and(|kind| kind != "account") {
        return Err(mismatched("not an account object"));
    }
    mode.check(object.get("livemode").and_then(Value::as_bool))?;
    let id = id(&object)?;
    // It is pinned at the first contact, so nothing else may pass for one.
    if id.starts_with("acct_") {
        Ok(id)
    } else {
        Err(mismatched("not the id of an account"))
    }
}

#[cfg(test)]
mod tests;
