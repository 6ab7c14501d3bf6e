//! What a request in doubt said, read back from its form body. If it was executed while its answer was
//! lost, both sides agree on that.

use entity::fields::{Field, Fields};
use entity::stamp::Stamps;
use entity::stripe_link;
use entity::stripe_object::{EXTERNAL_ID, rev_of};

/// The values and the stamps of a create or an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) fields: Fields,
    pub(crate) stamps: Stamps,
    /// Empty if it clears that.
    pub(crate) external_id: Option<String>,
}

impl Frozen {
    /// The request of this link that is in doubt.
    pub(crate) fn of(link: &stripe_link::Model) -> Option<Self> {
        link.request_body.as_deref().map(Self::read)
    }

    /// Whether it sent the field.
    pub(crate) fn sends(&self, field: Field) -> bool {
        self.stamps.get(field).is_some()
    }

    /// Reads a body of ours; what is not in it is absent.
    pub(crate) fn read(body: &str) -> Self {
        let mut frozen = Self::default();
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            if let Ok(field) = name.parse::<Field>() {
                frozen.fields.set(field, Some(value.into_owned()));
            } else if let Some(field) = stamped(&name)
                && let Ok(stamp) = value.parse()
            {
                frozen.stamps.set(field, stamp);
            } else if metadata(&name) == Some(EXTERNAL_ID) {
                frozen.external_id = Some(value.into_owned());
            }
        }
        frozen.fields = frozen.fields.canonical();
        frozen
    }
}

/// The field whose stamp a member of the form is.
fn stamped(name: &str) -> Option<Field> {
    let member = metadata(name)?;
    Field::ALL
        .into_iter()
        .find(|field| rev_of(*field) == member)
}

fn metadata(name: &str) -> Option<&str> {
    name.strip_prefix("metadata[")?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn what_was_frozen_is_read_back(email in ".{1,20}", name in ".{0,20}", rev in 1_i64..) {
            let fields = Fields { email: Some(email), name: Some(name), ..Fields::default() }.canonical();
            let stamps = Stamps::of((rev, Uuid::now_v7()), &fields, &Field::ALL);
            let external_id = Some("user 42".to_owned());
            let ids = (Uuid::now_v7(), external_id.as_deref());
            let body = crate::stripe::create_body(&fields, ids, &stamps);
            let frozen = Frozen::read(&body);
            prop_assert_eq!(frozen, Frozen { fields, stamps, external_id });
        }
    }
}
