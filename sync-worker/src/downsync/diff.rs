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
        Some(link) => copy.deleted || link.base != Some(&copy.fields) || link.is_parked_by_copy,
    }
}
