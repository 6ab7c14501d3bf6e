//! Reads Stripe's answers: leniently where nothing depends on it, strictly where a guess would lose data.
//!
//! Unknown members, unknown enum values and missing members are fine, because Stripe adds and
//! removes them between versions. What has no usable id, or a member of another type than it should
//! have, is an error: taken for empty it would clear a field, left out of a list it would look deleted.

use entity::message::StripeCopy;
use entity::stripe_event::{Event, KINDS};
use entity::stripe_object::{
    Customer, Object, Outline, Unreadable, copy, created, id, replaced, unreadable,
};
use entity::text::with_nuls;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::page::Page;

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
fn read<T>(body: &[u8], reader: impl Fn(&[u8]) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    reader(body).or_else(|error| reader(with_nuls(body).as_bytes()).map_err(|_| error))
}

pub(super) fn object(body: &[u8]) -> Result<Object, Unreadable> {
    read(body, |body| parsed(body))
}

/// The customer `id`, living or deleted.
pub(super) fn customer_with_id(body: &[u8], id: &str) -> Result<StripeCopy, Unreadable> {
    let copy = customer(body)?;
    if copy.stripe_id == id {
        Ok(copy)
    } else {
        Err(unreadable("another customer than the one asked for"))
    }
}

/// A customer, living or deleted.
pub(super) fn customer(body: &[u8]) -> Result<StripeCopy, Unreadable> {
    read(body, |body| checked(&parsed(body)?))
}

fn checked(customer: &Customer<'_>) -> Result<StripeCopy, Unreadable> {
    let copy = customer.copy()?;
    check(customer, copy.deleted)?;
    Ok(copy)
}

fn outlined(customer: &Customer<'_>) -> Result<Outline, Unreadable> {
    let outline = customer.outline()?;
    check(customer, outline.fingerprint.is_none())?;
    Ok(outline)
}

fn check(customer: &Customer<'_>, is_deleted: bool) -> Result<(), Unreadable> {
    if !customer.is_customer() {
        Err(unreadable("not a customer object"))
    } else if !is_deleted && !customer.has_fields() {
        Err(unreadable("a customer object without fields"))
    } else {
        Ok(())
    }
}

/// That the customer `id` is deleted.
pub(super) fn deleted(body: &[u8], id: &str) -> Result<(), Unreadable> {
    let object = object(body)?;
    if object.get("deleted") == Some(&Value::Bool(true)) && self::id(&object)? == id {
        Ok(())
    } else {
        Err(unreadable("not the deleted customer"))
    }
}

/// A list, as far as anything depends on it.
#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
    /// Without it nobody can tell a whole list from the start of one.
    has_more: bool,
}

pub(super) fn customers(body: &[u8]) -> Result<Page<StripeCopy>, Unreadable> {
    read(body, customers_of)
}

fn customers_of(body: &[u8]) -> Result<Page<StripeCopy>, Unreadable> {
    let List { data, has_more } = parsed::<List<Customer<'_>>>(body)?;
    let items: Vec<_> = data.iter().map(checked).collect::<Result<_, _>>()?;
    Ok(Page {
        cursor: items.last().map(|copy| copy.stripe_id.clone()),
        items,
        has_more,
    })
}

/// A customer of a list, outlined as soon as it is there, so that nothing else of the page is kept.
struct Item(Result<Outline, Unreadable>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Customer::deserialize(deserializer).map(|customer| Self(outlined(&customer)))
    }
}

pub(super) fn outlines(body: &[u8]) -> Result<Page<Outline>, Unreadable> {
    read(body, outlines_of)
}

fn outlines_of(body: &[u8]) -> Result<Page<Outline>, Unreadable> {
    let List { data, has_more } = parsed::<List<Item>>(body)?;
    let items: Vec<_> = data
        .into_iter()
        .map(|Item(item)| item)
        .collect::<Result<_, _>>()?;
    Ok(Page {
        cursor: items.last().map(|outline| outline.stripe_id.clone()),
        items,
        has_more,
    })
}

pub(super) fn events(body: &[u8]) -> Result<Page<Event>, Unreadable> {
    let List { data, has_more } = read(body, |body| parsed::<List<Object>>(body))?;
    let mut page = Page {
        items: Vec::with_capacity(data.len()),
        has_more,
        cursor: None,
    };
    for object in &data {
        page.cursor = Some(id(object)?);
        page.items.extend(event(object)?);
    }
    Ok(page)
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
        created: created(object)?,
        copy: copy(customer).ok(),
        replaced: data.and_then(replaced),
    }))
}

/// The account's id, and its mode where the server says it; Stripe's account object does not.
pub(super) fn account(body: &[u8]) -> Result<(String, Option<bool>), Unreadable> {
    let object = object(body)?;
    let livemode = object.get("livemode").and_then(Value::as_bool);
    Ok((id(&object)?, livemode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use entity::fields::{Field, Fields};
    use entity::fingerprint;
    use entity::stamp::Stamps;
    use serde_json::json;

    fn body(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn bob() -> Value {
        json!({
            "id": "cus_1", "object": "customer", "created": 7, "livemode": false,
            "email": " Bob@x.com ", "name": "Bob\u{0}", "phone": "", "description": null,
            "metadata": {
                "customer_sync_id": "00000000-0000-0000-0000-000000000007",
                "customer_sync_rev_name": "3-1a2b3c4d-0123456789abcdef",
                "customer_sync_detached": "true",
            },
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut object = bob();
        object[name] = value;
        object
    }

    fn without(name: &str) -> Value {
        let mut object = bob();
        object.as_object_mut().unwrap().remove(name);
        object
    }

    #[test]
    fn a_customer_is_read_in_canonical_form() {
        let copy = customer(&body(&bob())).unwrap();
        let mut stamps = Stamps::default();
        stamps.set(Field::Name, "3-1a2b3c4d-0123456789abcdef".parse().unwrap());
        let expected = StripeCopy {
            stripe_id: "cus_1".into(),
            deleted: false,
            fields: Fields {
                email: Some("Bob@x.com".into()),
                name: Some("Bob".into()),
                ..Fields::default()
            },
            customer_id: Some(uuid::Uuid::from_u128(7)),
            stamps,
            detached: true,
            created: 7,
        };
        assert_eq!(copy, expected);
    }

    #[test]
    fn what_nothing_depends_on_may_be_missing_new_or_odd() {
        let objects = [
            without("metadata"),
            without("created"),
            without("livemode"),
            without("phone"),
            with("metadata", Value::Null),
            with("metadata", json!([])),
            with(
                "metadata",
                json!({"customer_sync_id": 5, "customer_sync_rev_name": "latest", "vip": null}),
            ),
            with("tax_exempt", json!("an_enum_value_of_next_year")),
            with(
                "sources",
                json!({"object": "list", "data": [{"object": "hologram"}]}),
            ),
        ];
        for object in objects {
            let copy = customer(&body(&object)).unwrap();
            assert_eq!(copy.fields.email.as_deref(), Some("Bob@x.com"), "{object}");
        }
    }

    #[test]
    fn what_would_clear_a_field_or_pass_for_another_object_is_refused() {
        let objects = [
            without("id"),
            without("object"),
            with("id", json!("")),
            with("id", json!(5)),
            with("id", json!("..")),
            with("id", json!("cus 1")),
            with("object", json!("subscription")),
            with("name", json!(5)),
            with("created", json!("yesterday")),
            with("email", json!({"address": "bob@x.com"})),
            with("deleted", json!("yes")),
            json!({"id": "cus_1", "object": "customer", "metadata": {}}),
            json!({"error": {"message": "no"}}),
        ];
        for object in objects {
            let Unreadable(reason) = customer(&body(&object)).unwrap_err();
            assert!(!reason.contains("bob"), "{object}: {reason}");
        }
        for body in [
            "",
            "null",
            "[]",
            "\"bob\"",
            "<html>",
            "{\"id\":\"cus_1\"",
            "{\"id\":\"\u{fffd}",
        ] {
            let Unreadable(reason) = customer(body.as_bytes()).unwrap_err();
            assert!(!reason.contains("bob"), "{reason}");
        }
        assert!(customer_with_id(&body(&bob()), "cus_2").is_err());
    }

    #[test]
    fn a_deleted_customer_has_no_fields() {
        let object = body(&json!({"id": "cus_1", "object": "customer", "deleted": true}));
        let copy = customer(&object).unwrap();
        assert!(copy.deleted);
        assert_eq!(copy.fields, Fields::default());
        assert_eq!(deleted(&object, "cus_1"), Ok(()));
        assert!(deleted(&object, "cus_2").is_err());
        assert!(deleted(&body(&bob()), "cus_1").is_err());
    }

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let list = |data: Value, has_more: Value| {
            body(&json!({"object": "list", "data": data, "has_more": has_more}))
        };
        let page = customers(&list(
            json!([bob(), with("id", json!("cus_2"))]),
            json!(true),
        ))
        .unwrap();
        assert_eq!((page.items.len(), page.has_more), (2, true));
        assert_eq!(page.cursor.as_deref(), Some("cus_2"));
        for data in [
            json!([bob(), {}]),
            json!([bob(), null]),
            json!([without("id"), bob()]),
            json!({}),
            Value::Null,
        ] {
            assert!(
                customers(&list(data.clone(), json!(false))).is_err(),
                "{data}"
            );
        }
        assert!(customers(&list(json!([bob()]), Value::Null)).is_err());
    }

    #[test]
    fn an_outline_fits_its_customer_and_fails_where_that_does() {
        let plain = with("metadata", json!({"vip": "yes"}));
        let objects = [
            plain.clone(),
            bob(),
            without("name"),
            without("created"),
            with("metadata", json!({"customer_sync_detached": "no"})),
            with("email", json!("\u{0} ")),
            with("description", json!("two\nlines \u{e9}")),
            json!({"id": "cus_1", "object": "customer", "deleted": true}),
            without("id"),
            without("object"),
            with("id", json!("..")),
            with("phone", json!(5)),
            with("created", json!("yesterday")),
            with("deleted", json!("yes")),
            json!({"id": "cus_1", "object": "customer"}),
        ];
        let mut fingerprints = Vec::new();
        for object in objects {
            let list = body(&json!({"data": [object], "has_more": false}));
            let (Ok(outlines), Ok(customers)) = (outlines(&list), customers(&list)) else {
                assert_eq!(outlines(&list).unwrap_err(), customers(&list).unwrap_err());
                continue;
            };
            let (outline, copy) = (&outlines.items[0], &customers.items[0]);
            assert_eq!(outlines.cursor, customers.cursor);
            assert_eq!(outline.stripe_id, copy.stripe_id);
            assert_eq!(outline.created, copy.created);
            let link = Some(copy.stripe_id.as_str());
            let agreed = fingerprint::of_link(link, Some(&copy.fields), None, copy.detached);
            let expected = (!copy.deleted).then_some(agreed);
            assert_eq!(outline.fingerprint, expected, "{object}");
            fingerprints.push(outline.fingerprint);
        }
        assert_eq!(fingerprints.len(), 8);
        assert_ne!(fingerprints[0], fingerprints[1]);
    }

    #[test]
    fn events_of_another_type_are_left_out_but_move_the_cursor() {
        let event = |id: &str, kind: &str, object: Value| json!({"id": id, "type": kind, "created": 5, "data": {"object": object}});
        let bob = json!({"id": "cus_1", "object": "customer", "email": "bob@x.com"});
        let list = body(&json!({"has_more": true, "data": [
            event("evt_1", "customer.deleted", bob),
            event("evt_2", "customer.updated", json!({"id": "cus_2"})),
            event("evt_3", "customer.subscription.updated", json!({"id": "sub_1"})),
            event("evt_4", "balance.available", json!({})),
        ]}));
        let page = events(&list).unwrap();
        let of = |event: &Event| (event.id.clone(), event.stripe_id.clone());
        let read: Vec<_> = page.items.iter().map(of).collect();
        let expected = [("evt_1", "cus_1"), ("evt_2", "cus_2")];
        assert_eq!(
            read,
            expected.map(|(id, of)| (id.to_owned(), of.to_owned()))
        );
        assert_eq!(page.cursor.as_deref(), Some("evt_4"));
    }

    #[test]
    fn an_event_that_names_no_customer_spoils_its_page() {
        let objects = [
            json!({"type": "customer.updated", "data": {"object": {"id": "cus_1"}}}),
            json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {}}}),
            json!({"id": "evt_1", "type": "customer.updated"}),
            json!({"id": "evt_1"}),
        ];
        for object in objects {
            let list = body(&json!({"has_more": false, "data": [object]}));
            assert!(events(&list).is_err(), "{list:?}");
        }
    }

    #[test]
    fn text_that_cannot_be_stored_blocks_no_other_customer() {
        let named = |name: &[u8]| {
            let mut page = br#"{"object":"list","has_more":false,"data":[{"id":"cus_1","object":"customer","email":"a@x.io","name":""#.to_vec();
            page.extend_from_slice(name);
            page.extend_from_slice(br#""},{"id":"cus_2","object":"customer","email":"b@x.io"}]}"#);
            page
        };
        let names: [&[u8]; 4] = [b"A\\ud83d", b"\\ude00A", b"A\\u0000", b"\xffA"];
        for name in names {
            let page = named(name);
            let copies = customers(&page).unwrap().items;
            assert_eq!(copies.len(), 2);
            assert_eq!(copies[0].fields.name.as_deref(), Some("A"));
            assert_eq!(outlines(&page).unwrap().items.len(), 2);
        }
    }
}
