//! What a request in doubt said, read back from its form body. If it was executed while its answer was
//! lost, both sides agree on that.

use entity::fields::{Field, Fields, Stamp};
use entity::stripe_link;

/// The values and the stamp of a create or an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) fields: Fields,
    pub(crate) stamp: Option<Stamp>,
}

impl Frozen {
    /// The request of this link that is in doubt.
    pub(crate) fn of(link: &stripe_link::Model) -> Option<Self> {
        link.request_body.as_deref().map(Self::read)
    }

    /// The fields that it sent.
    pub(crate) fn sent(&self) -> &[Field] {
        self.stamp.as_ref().map_or(&[], |stamp| &stamp.sent)
    }

    /// Reads a body of ours; what is not in it is absent.
    pub(crate) fn read(body: &str) -> Self {
        let mut frozen = Self::default();
        for (name, value) in form_urlencoded::parse(body.as_bytes()) {
            if name == "metadata[customer_sync_rev]" {
                frozen.stamp = value.parse().ok();
            } else if let Ok(field) = name.parse::<Field>() {
                frozen.fields.set(field, Some(value.into_owned()));
            }
        }
        frozen.fields = frozen.fields.canonical();
        frozen
    }
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
            let stamp = Stamp::of(rev, &fields, &Field::ALL);
            let body = crate::stripe::create_body(&fields, Uuid::now_v7(), &stamp);
            let frozen = Frozen::read(&body);
            prop_assert_eq!(frozen, Frozen { fields, stamp: Some(stamp) });
        }
    }
}
