//! Reads Stripe's answers: leniently where nothing depends on it, strictly where a guess would lose data.
//!
//! Unknown members, unknown enum values and missing members are fine, because Stripe adds and
//! removes them between versions. What has no usable id, or a member of another type than it should
//! have, is an error: taken for empty it would clear a field, left out of a list it would look deleted.

use entity::message::StripeCopy;
use entity::stripe_event::{Event, KINDS};
use entity::stripe_object::{Object, Unreadable, copy, created, id, unreadable};
use serde_json::Value;

use super::page::Page;

pub(super) fn object(body: &[u8]) -> Result<Object, Unreadable> {
    // serde_json's own words may quote the value at fault.
    serde_json::from_slice(body).map_err(|error| {
        unreadable(format!(
            "no JSON object, at line {} column {}",
            error.line(),
            error.column()
        ))
    })
}

/// The customer `id`, living or deleted.
pub(super) fn customer_with_id(object: &Object, id: &str) -> Result<StripeCopy, Unreadable> {
    let copy = customer(object)?;
    if copy.stripe_id == id {
        Ok(copy)
    } else {
        Err(unreadable("another customer than the one asked for"))
    }
}

/// A customer, living or deleted.
pub(super) fn customer(object: &Object) -> Result<StripeCopy, Unreadable> {
    if object.get("object").and_then(Value::as_str) != Some("customer") {
        return Err(unreadable("not a customer object"));
    }
    let copy = copy(object)?;
    let has_any_field = ["email", "name", "phone", "description"]
        .iter()
        .any(|field| object.contains_key(*field));
    // Stripe names every field, those that are null too.
    if !copy.deleted && !has_any_field {
        return Err(unreadable("a customer object without fields"));
    }
    Ok(copy)
}

/// That the customer `id` is deleted.
pub(super) fn deleted(object: &Object, id: &str) -> Result<(), Unreadable> {
    if object.get("deleted") == Some(&Value::Bool(true)) && self::id(object)? == id {
        Ok(())
    } else {
        Err(unreadable("not the deleted customer"))
    }
}

pub(super) fn customers(object: &Object) -> Result<Page<StripeCopy>, Unreadable> {
    let (items, has_more) = list(object)?;
    let items: Vec<_> = items
        .iter()
        .map(|item| customer(item))
        .collect::<Result<_, _>>()?;
    Ok(Page {
        cursor: items.last().map(|copy| copy.stripe_id.clone()),
        items,
        has_more,
    })
}

pub(super) fn events(object: &Object) -> Result<Page<Event>, Unreadable> {
    let (objects, has_more) = list(object)?;
    let mut page = Page {
        items: Vec::with_capacity(objects.len()),
        has_more,
        cursor: None,
    };
    for object in objects {
        page.cursor = Some(id(object)?);
        page.items.extend(event(object)?);
    }
    Ok(page)
}

/// None of a type that was not asked for: its object may be no customer at all.
fn event(object: &Object) -> Result<Option<Event>, Unreadable> {
    let kind = object.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| unreadable("an event without a type"))?;
    if !KINDS.contains(&kind) {
        return Ok(None);
    }
    let customer = object
        .get("data")
        .and_then(|data| data.get("object"))
        .and_then(Value::as_object)
        .ok_or_else(|| unreadable("an event without an object"))?;
    Ok(Some(Event {
        id: id(object)?,
        kind: kind.to_owned(),
        stripe_id: self::id(customer)?,
        created: created(object)?,
        copy: copy(customer).ok(),
    }))
}

/// The account's id, and its mode where the server says it; Stripe's account object does not.
pub(super) fn account(object: &Object) -> Result<(String, Option<bool>), Unreadable> {
    let livemode = object.get("livemode").and_then(Value::as_bool);
    Ok((id(object)?, livemode))
}

pub(super) fn list(object: &Object) -> Result<(Vec<&Object>, bool), Unreadable> {
    let data = object.get("data").and_then(Value::as_array);
    let data = data.ok_or_else(|| unreadable("a list without data"))?;
    // Without it nobody can tell a whole list from the start of one.
    let has_more = object.get("has_more").and_then(Value::as_bool);
    let has_more = has_more.ok_or_else(|| unreadable("a list without has_more"))?;
    let items = data
        .iter()
        .map(|item| {
            item.as_object()
                .ok_or_else(|| unreadable("a list with an item that is no object"))
        })
        .collect::<Result<_, _>>()?;
    Ok((items, has_more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use entity::fields::{Field, Fields};
    use entity::stamp::Stamps;
    use serde_json::json;

    fn parsed(value: Value) -> Object {
        object(value.to_string().as_bytes()).unwrap()
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
        let copy = customer(&parsed(bob())).unwrap();
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
            let copy = customer(&parsed(object.clone())).unwrap();
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
            let Unreadable(reason) = customer(&parsed(object.clone())).unwrap_err();
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
            let Unreadable(reason) = object(body.as_bytes()).unwrap_err();
            assert!(!reason.contains("bob"), "{reason}");
        }
        assert!(customer_with_id(&parsed(bob()), "cus_2").is_err());
    }

    #[test]
    fn a_deleted_customer_has_no_fields() {
        let object = parsed(json!({"id": "cus_1", "object": "customer", "deleted": true}));
        let copy = customer(&object).unwrap();
        assert!(copy.deleted);
        assert_eq!(copy.fields, Fields::default());
        assert_eq!(deleted(&object, "cus_1"), Ok(()));
        assert!(deleted(&object, "cus_2").is_err());
        assert!(deleted(&parsed(bob()), "cus_1").is_err());
    }

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let list = |data: Value, has_more: Value| {
            parsed(json!({"object": "list", "data": data, "has_more": has_more}))
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
    fn events_of_another_type_are_left_out_but_move_the_cursor() {
        let event = |id: &str, kind: &str, object: Value| json!({"id": id, "type": kind, "created": 5, "data": {"object": object}});
        let bob = json!({"id": "cus_1", "object": "customer", "email": "bob@x.com"});
        let list = parsed(json!({"has_more": true, "data": [
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
            let list = parsed(json!({"has_more": false, "data": [object]}));
            assert!(events(&list).is_err(), "{list:?}");
        }
    }
}
