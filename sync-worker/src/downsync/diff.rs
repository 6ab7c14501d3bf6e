//! Whether a copy of Stripe's says anything new. Pure.

use entity::message::StripeCopy;
use entity::stripe_link;

use crate::observe::is_parked_by_copy;

/// Compares a copy with what both sides last agreed on. Equal: nothing is sent and nothing written.
pub fn is_drift(copy: &StripeCopy, link: Option<&stripe_link::Model>) -> bool {
    match link {
        // Unknown here: it becomes a row, or an entry of what cannot become one, or ends being one.
        None => !copy.detached,
        Some(link) if link.detached_at.is_some() => false,
        Some(link) => {
            copy.deleted || link.base.as_ref() != Some(&copy.fields) || is_parked_by_copy(link)
        }
    }
}
