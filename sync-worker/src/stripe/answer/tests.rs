//! Answers of Stripe, read and compared with their requests.

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

fn test() -> Mode {
    Mode::of_key("sk_test_1")
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
    let copy = customer(&body(&bob()), &test()).unwrap();
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
        external_id: None,
        stamps,
        detached: true,
        created: 7,
        unreadable: false,
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
        let copy = customer(&body(&object), &test()).unwrap();
        assert_eq!(copy.fields.email.as_deref(), Some("Bob@x.com"), "{object}");
    }
}

#[test]
fn answer_that_would_clear_a_field_is_refused() {
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
        let invalid = format!("{:?}", customer(&body(&object), &test()).unwrap_err());
        assert!(!invalid.contains("bob"), "{object}: {invalid}");
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
        let invalid = format!("{:?}", customer(body.as_bytes(), &test()).unwrap_err());
        assert!(!invalid.contains("bob"), "{invalid}");
    }
    assert!(customer_with_id(&body(&bob()), "cus_2", &test()).is_err());
}

#[test]
fn a_deleted_customer_has_no_fields() {
    let object = body(&json!({"id": "cus_1", "object": "customer", "deleted": true}));
    let copy = customer(&object, &test()).unwrap();
    assert!(copy.deleted);
    assert_eq!(copy.fields, Fields::default());
    assert_eq!(deleted(&object, "cus_1", &test()), Ok(()));
    assert!(deleted(&object, "cus_2", &test()).is_err());
    assert!(deleted(&body(&bob()), "cus_1", &test()).is_err());
    let other = body(&json!({"id": "cus_1", "object": "subscription", "deleted": true}));
    assert!(deleted(&other, "cus_1", &test()).is_err());
}

#[test]
fn a_list_is_read_whole_or_not_at_all() {
    let list = |data: Value, has_more: Value| {
        body(&json!({"object": "list", "data": data, "has_more": has_more}))
    };
    let both = list(json!([bob(), with("id", json!("cus_2"))]), json!(true));
    let page = customers(&both, None, &test()).unwrap();
    assert_eq!((page.items.len(), page.has_more), (2, true));
    assert_eq!(page.cursor.as_deref(), Some("cus_2"));
    for data in [
        json!([bob(), {}]),
        json!([bob(), null]),
        json!([without("id"), bob()]),
        json!([with("object", json!("subscription"))]),
        json!({}),
        Value::Null,
    ] {
        assert!(
            customers(&list(data.clone(), json!(false)), None, &test()).is_err(),
            "{data}"
        );
    }
    assert!(customers(&list(json!([bob()]), Value::Null), None, &test()).is_err());
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
        let outlines = outlines(&list, &test());
        let customers = customers(&list, None, &test());
        let (Ok(outlines), Ok(customers)) = (&outlines, &customers) else {
            assert_eq!(outlines.unwrap_err(), customers.unwrap_err());
            continue;
        };
        let (outline, copy) = (&outlines.items[0], &customers.items[0]);
        assert_eq!(outlines.cursor, customers.cursor);
        assert_eq!(outline.stripe_id, copy.stripe_id);
        assert_eq!(outline.created, copy.created);
        let link = Some(copy.stripe_id.as_str());
        let agreed = fingerprint::of_link(link, Some(&copy.fields), None, copy.detached);
        let expected = (!copy.deleted && !copy.unreadable).then_some(agreed);
        assert_eq!(outline.fingerprint, expected, "{object}");
        assert_eq!(outline.is_readable, !copy.unreadable, "{object}");
        fingerprints.push(outline.fingerprint);
    }
    assert_eq!(fingerprints.len(), 12);
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
    let page = events(&list, &test()).unwrap();
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
fn event_that_cannot_be_read_spoils_no_other() {
    let good = json!({"id": "evt_2", "type": "customer.updated", "created": "soon", "data": {"object": {"id": "cus_1"}}});
    for object in [
        json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {}}}),
        json!({"id": "evt_1", "type": "customer.updated"}),
        json!({"id": "evt_1"}),
    ] {
        let list = body(&json!({"has_more": false, "data": [good, object]}));
        let page = events(&list, &test()).unwrap();
        let read: Vec<_> = page.items.iter().map(|event| event.created).collect();
        assert_eq!(read, [0], "{object}");
        assert_eq!(page.cursor.as_deref(), Some("evt_1"));
    }
    let other = json!({"id": "sub_1", "object": "subscription"});
    let list = body(&json!({"has_more": false, "data": [other]}));
    assert!(events(&list, &test()).is_err());
    let nameless = json!({"type": "customer.updated", "data": {"object": {"id": "cus_1"}}});
    let list = body(&json!({"has_more": false, "data": [nameless]}));
    assert!(events(&list, &test()).is_err());
}

#[test]
fn customer_that_cannot_be_read_spoils_no_other() {
    let broken = with("phone", json!(5));
    let mut other = bob();
    other["id"] = json!("cus_2");
    let list = body(&json!({"data": [broken, other], "has_more": false}));
    let page = customers(&list, None, &test()).unwrap();
    let read: Vec<_> = page
        .items
        .iter()
        .map(|copy| (copy.stripe_id.as_str(), copy.unreadable))
        .collect();
    assert_eq!(read, [("cus_1", true), ("cus_2", false)]);
    assert_eq!(page.items[0].fields, Fields::default());
    assert!(
        retrieved(&body(&broken), "cus_1", &test())
            .unwrap()
            .unreadable
    );
    assert!(retrieved(&body(&broken), "cus_2", &test()).is_err());
    assert!(customer(&body(&broken), &test()).is_err());
}

#[test]
fn object_of_the_other_mode_matches_no_request() {
    let live = with("livemode", json!(true));
    let list = body(&json!({"data": [bob(), live], "has_more": false}));
    let live_event = json!({"id": "evt_1", "type": "customer.updated", "livemode": true, "data": {"object": bob()}});
    let expected = Invalid::Mismatched("an object of the other mode".to_owned());
    for invalid in [
        customer(&body(&live), &test()).unwrap_err(),
        customer_with_id(&body(&live), "cus_1", &test()).unwrap_err(),
        customers(&list, None, &test()).unwrap_err(),
        outlines(&list, &test()).unwrap_err(),
        account(&body(&json!({"id": "acct_1", "livemode": true})), &test()).unwrap_err(),
        events(
            &body(&json!({"data": [live_event], "has_more": false})),
            &test(),
        )
        .unwrap_err(),
    ] {
        assert_eq!(invalid, expected);
    }
}

#[test]
fn list_by_email_shows_only_that_email() {
    let list = body(&json!({"data": [bob()], "has_more": false}));
    for (asked, is_shown) in [
        ("Bob@x.com", true),
        ("bob@X.com", true),
        ("al@x.com", false),
    ] {
        let page = customers(&list, Some(asked), &test());
        assert_eq!(page.is_ok(), is_shown, "{asked}");
    }
}

#[test]
fn events_of_a_connected_account_are_left_out() {
    let event = |id: &str| json!({"id": id, "type": "customer.updated", "livemode": false, "data": {"object": {"id": "cus_1"}}});
    let mut connected = event("evt_1");
    connected["account"] = json!("acct_connected");
    let list = body(&json!({"has_more": false, "data": [event("evt_2"), connected]}));
    let page = events(&list, &test()).unwrap();
    let ids: Vec<_> = page.items.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["evt_2"]);
    assert_eq!(page.cursor.as_deref(), Some("evt_1"));
}

/// A69
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
        let copies = customers(&page, None, &test()).unwrap().items;
        assert_eq!(copies.len(), 2);
        assert_eq!(copies[0].fields.name.as_deref(), Some("A"));
        assert_eq!(outlines(&page, &test()).unwrap().items.len(), 2);
    }
}
