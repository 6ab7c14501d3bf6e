//! Whether a copy of Stripe's says anything new. Pure.

use entity::fields::Fields;
use entity::message::StripeCopy;
use entity::parked::Reason;
use entity::stripe_link;

/// As much of a link as a copy is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Agreed<'a> {
    base: Option<&'a Fields>,
    is_parked_by_copy: bool,
    is_detached: bool,
}

impl<'a> Agreed<'a> {
    pub fn of(base: Option<&'a Fields>, parked: Option<&str>, is_detached: bool) -> Self {
        Self {
            base,
            is_parked_by_copy: parked.is_some_and(|reason| Reason::of(reason).is_by_copy()),
            is_detached,
        }
    }
}

impl<'a> From<&'a stripe_link::Model> for Agreed<'a> {
    fn from(link: &'a stripe_link::Model) -> Self {
        let parked = link.parked_reason.as_deref();
        Self::of(link.base.as_ref(), parked, link.detached_at.is_some())
    }
}

/// Compares a copy with what both sides last agreed on. Equal: nothing is sent and nothing written.
pub fn is_drift(copy: &StripeCopy, link: Option<Agreed<'_>>) -> bool {
    match link {
        // Unknown here: it becomes a row, or an entry of what cannot become one, or ends being one.
        None => !copy.detached,
        Some(link) if link.is_detached => false,
        Some(link) => {
            copy.deleted
                || copy.unreadable
                || link.base != Some(&copy.fields)
                || link.is_parked_by_copy
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use entity::fields::Field;
    use entity::fingerprint;
    use entity::stamp::Stamps;
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = Option<String>> {
        proptest::sample::select(vec![None, Some("Ann".to_owned()), Some("Bob".to_owned())])
    }

    fn fields() -> impl Strategy<Value = Fields> {
        (name(), name()).prop_map(|(name, description)| Fields {
            name,
            description,
            ..Fields::default()
        })
    }

    fn reason() -> impl Strategy<Value = Option<Reason>> {
        let reasons = Reason::ALL.into_iter().map(Some);
        proptest::sample::select(std::iter::once(None).chain(reasons).collect::<Vec<_>>())
    }

    prop_compose! {
        fn copies()(
            fields in fields(), deleted in any::<bool>(), detached in any::<bool>(),
        ) -> StripeCopy {
            StripeCopy {
                stripe_id: "cus_1".to_owned(),
                deleted,
                fields: if deleted { Fields::default() } else { fields },
                customer_id: None,
                external_id: None,
                stamps: Stamps::default(),
                detached,
                created: 7,
                unreadable: false,
            }
        }
    }

    proptest! {
        #[test]
        fn what_the_fingerprints_pass_over_is_no_drift(
            copy in copies(),
            base in proptest::option::of(fields()),
            parked in reason(),
            is_linked in any::<bool>(),
            is_detached in any::<bool>(),
        ) {
            let stripe_id = is_linked.then_some("cus_1");
            let expected = fingerprint::of_link(stripe_id, base.as_ref(), parked, is_detached);
            let link = Agreed::of(base.as_ref(), parked.map(Reason::as_str), is_detached);
            let is_drift = is_drift(&copy, is_linked.then_some(link));
            // Stripe never shows a customer again that it has deleted.
            prop_assume!(parked != Some(Reason::DeletedInStripe));
            let values = Field::ALL.map(|field| copy.fields.get(field).map(Cow::Borrowed));
            let shown = fingerprint::of_shown(&copy.stripe_id, &values, copy.detached);
            let is_passed_over = !copy.deleted && shown == expected;
            prop_assert!(!(is_passed_over && is_drift));
            // Nor is it looked at for nothing, but for what one side only has let go of.
            let is_plain = is_linked && !copy.deleted && copy.detached == is_detached;
            if is_plain && !is_drift {
                prop_assert!(is_passed_over);
            }
        }
    }
}
