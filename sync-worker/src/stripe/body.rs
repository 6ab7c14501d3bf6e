//! The form bodies of our writes, made by async-stripe's typed requests, and the members of the
//! metadata that are ours.
//!
//! The same arguments always make the same text: an idempotency key allows one body only.

use std::collections::HashMap;

use entity::fields::{Field, Fields};
use entity::stamp::Stamps;
use entity::stripe_object::{CUSTOMER_ID, DETACHED, EXTERNAL_ID, rev_of};
use stripe_client_core::StripeRequest;
use stripe_core::customer::{CreateCustomer, UpdateCustomer};
use uuid::Uuid;

/// The body that creates a customer. `fields` are canonical; those that are `None` are left out.
pub fn create_body(
    fields: &Fields,
    (customer_id, external_id): (Uuid, Option<&str>),
    stamps: &Stamps,
) -> String {
    let marks = marks((customer_id, external_id), stamps);
    let mut request = CreateCustomer::new().metadata(marks);
    for field in Field::ALL {
        let Some(value) = fields.get(field) else {
            continue;
        };
        request = match field {
            Field::Email => request.email(value),
            Field::Name => request.name(value),
            Field::Phone => request.phone(value),
            Field::Description => request.description(value),
        };
    }
    form(&request)
}

/// The body that changes the given fields only and leaves all others as they are; `None` clears one.
/// It claims the customer again if we had let go of it. An empty `external_id` clears that, and none leaves it as it is.
pub fn update_body(
    changes: &[(Field, Option<String>)],
    ids: (Uuid, Option<&str>),
    stamps: &Stamps,
) -> String {
    let mut metadata = marks(ids, stamps);
    metadata.insert(DETACHED.to_owned(), String::new());
    let mut request = update(metadata);
    for (field, value) in changes {
        // An empty text is how a field is cleared; a field that is left out is not touched.
        let value = value.as_deref().unwrap_or_default();
        request = match field {
            Field::Email => request.email(value),
            Field::Name => request.name(value),
            Field::Phone => request.phone(value),
            Field::Description => request.description(value),
        };
    }
    form(&request)
}

/// The body that lets go of a customer: its row is deleted, the customer itself stays.
pub fn detach_body() -> String {
    form(&update(HashMap::from([(
        DETACHED.to_owned(),
        "true".to_owned(),
    )])))
}

/// Whose it is, and the stamp of each field that is sent.
fn marks(
    (customer_id, external_id): (Uuid, Option<&str>),
    stamps: &Stamps,
) -> HashMap<String, String> {
    let stamps = stamps
        .iter()
        .map(|(field, stamp)| (rev_of(field).to_owned(), stamp.to_string()));
    let id = (CUSTOMER_ID.to_owned(), customer_id.to_string());
    let external_id = external_id.map(|id| (EXTERNAL_ID.to_owned(), id.to_owned()));
    stamps.chain([id]).chain(external_id).collect()
}

fn update(metadata: HashMap<String, String>) -> UpdateCustomer {
    // The id is part of the path alone, and only the body is taken from this request.
    UpdateCustomer::new("").metadata(metadata)
}

/// The request's body with its pairs in order: a `HashMap` gives the metadata in any.
fn form(request: &impl StripeRequest) -> String {
    let body = request.build().body.unwrap_or_default();
    let mut pairs: Vec<&str> = body.split('&').collect();
    pairs.sort_unstable();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn stamps(sent: &[Field]) -> Stamps {
        Stamps::of((3, ID), &Fields::default(), sent)
    }

    fn stamp(of: Field) -> String {
        stamps(&Field::ALL).get(of).unwrap().to_string()
    }

    fn decoded(body: &str) -> HashMap<String, String> {
        let pairs = form_urlencoded::parse(body.as_bytes()).into_owned();
        let count = body.split('&').count();
        let pairs: HashMap<_, _> = pairs.collect();
        assert_eq!(pairs.len(), count, "every name once");
        pairs
    }

    #[test]
    fn a_create_says_what_there_is_and_whose_it_is() {
        let fields = Fields {
            email: Some("bob@x.com".into()),
            name: Some("Bob".into()),
            ..Fields::default()
        };
        let body = create_body(&fields, (ID, None), &stamps(&Field::ALL));
        let expected = [
            ("email", "bob@x.com".to_owned()),
            ("name", "Bob".to_owned()),
            ("metadata[customer_sync_id]", ID.to_string()),
            ("metadata[customer_sync_rev_email]", stamp(Field::Email)),
            ("metadata[customer_sync_rev_name]", stamp(Field::Name)),
            ("metadata[customer_sync_rev_phone]", stamp(Field::Phone)),
            (
                "metadata[customer_sync_rev_description]",
                stamp(Field::Description),
            ),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(decoded(&body), HashMap::from(expected));
    }

    #[test]
    fn an_update_touches_the_given_fields_only_and_an_empty_one_is_cleared() {
        let changes = [(Field::Name, None), (Field::Phone, Some("+1 555".into()))];
        let body = decoded(&update_body(
            &changes,
            (ID, None),
            &stamps(&[Field::Name, Field::Phone]),
        ));
        assert_eq!(body["name"], "");
        assert_eq!(body["phone"], "+1 555");
        assert_eq!(body["metadata[customer_sync_rev_name]"], stamp(Field::Name));
        assert!(!body.contains_key("metadata[customer_sync_rev_email]"));
        assert_eq!(body["metadata[customer_sync_detached]"], "");
        assert!(!body.contains_key("email") && !body.contains_key("description"));
    }

    #[test]
    fn letting_go_changes_one_member_of_the_metadata() {
        assert_eq!(detach_body(), "metadata[customer_sync_detached]=true");
    }

    #[test]
    fn the_same_customer_makes_the_same_body() {
        let bodies =
            (0..50).map(|_| update_body(&[(Field::Name, None)], (ID, None), &stamps(&Field::ALL)));
        let first = update_body(&[(Field::Name, None)], (ID, None), &stamps(&Field::ALL));
        assert!(bodies.into_iter().all(|body| body == first));
    }

    proptest! {
        #[test]
        fn every_text_survives_the_form(name in ".{0,40}", description in "\\PC{0,40}") {
            let fields = Fields { name: Some(name), description: Some(description), ..Fields::default() };
            let body = decoded(&create_body(&fields, (ID, None), &stamps(&Field::ALL)));
            prop_assert_eq!(body.get("name"), fields.name.as_ref());
            prop_assert_eq!(body.get("description"), fields.description.as_ref());
        }
    }
}
