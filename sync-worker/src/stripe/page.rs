//! Which part of a list is asked for, and what came.

use stripe_core::customer::ListCustomer;
use stripe_core::event::ListEvent;
use stripe_types::{RangeBoundsTs, RangeQueryTs};

use bytes::Bytes;
use entity::message::StripeCopy;
use entity::stripe_event::KINDS;
use entity::stripe_object::Outline;

use super::answer;
use super::mode::Mode;

/// The most items that Stripe gives at once.
pub const LARGEST_PAGE: u32 = 100;

/// A page of `GET /v1/customers`, newest first. Deleted customers and those of test clocks are never in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// 1 to [`LARGEST_PAGE`].
    pub limit: u32,
    /// The [`Page::cursor`] of the page before.
    pub starting_after: Option<String>,
    /// Exactly this address, case and all.
    pub email: Option<String>,
    /// Unix seconds.
    pub created_gte: Option<i64>,
    /// Unix seconds.
    pub created_lte: Option<i64>,
}

/// A page of `GET /v1/events` of [`KINDS`], newest first, at most 30 days old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// 1 to [`LARGEST_PAGE`].
    pub limit: u32,
    /// Unix seconds.
    pub created_gte: Option<i64>,
    /// The [`Page::cursor`] of the page before.
    pub starting_after: Option<String>,
}

/// What came. A customer that cannot be read is in it by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub has_more: bool,
    /// The id of the last object, for the `starting_after` of the next page; `None` of an empty one.
    /// Not always an item: events of a type that was not asked for are left out.
    pub cursor: Option<String>,
}

impl<T> Page<T> {
    /// In the place of a page whose only object, of this id, is too large. Whether there are more shows behind it.
    pub(super) fn skipping(items: Vec<T>, id: String) -> Self {
        Self {
            items,
            has_more: true,
            cursor: Some(id),
        }
    }
}

/// A page of customers in outline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlined {
    pub page: Page<Outline>,
    pub source: Source,
}

/// The answer that a page was outlined from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(pub(super) Bytes);

impl Source {
    /// Of a page that was too large to be read.
    pub(super) fn none() -> Self {
        Self(Bytes::new())
    }

    /// In bytes, which it takes as long as it is kept.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// The customers of the page in full, without those that cannot be read.
    pub fn customers(&self) -> Vec<StripeCopy> {
        // The outlines of this answer were read with the mode of the key.
        let page = answer::customers(&self.0, None, &Mode::default());
        let mut copies = page.map(|page| page.items).unwrap_or_default();
        copies.retain(|copy| !copy.unreadable);
        copies
    }
}

impl Default for ListPage {
    fn default() -> Self {
        Self {
            limit: LARGEST_PAGE,
            starting_after: None,
            email: None,
            created_gte: None,
            created_lte: None,
        }
    }
}

impl Default for EventPage {
    fn default() -> Self {
        Self {
            limit: LARGEST_PAGE,
            created_gte: None,
            starting_after: None,
        }
    }
}

impl ListPage {
    pub(super) fn request(&self) -> ListCustomer {
        let mut request = ListCustomer::new().limit(self.limit);
        if let Some(created) = created(self.created_gte, self.created_lte) {
            request = request.created(created);
        }
        if let Some(email) = &self.email {
            request = request.email(email);
        }
        if let Some(id) = &self.starting_after {
            request = request.starting_after(id);
        }
        request
    }
}

impl EventPage {
    pub(super) fn request(&self) -> ListEvent {
        let types = KINDS.map(str::to_owned);
        let mut request = ListEvent::new().limit(self.limit).types(types);
        if let Some(created) = created(self.created_gte, None) {
            request = request.created(created);
        }
        if let Some(id) = &self.starting_after {
            request = request.starting_after(id);
        }
        request
    }
}

fn created(gte: Option<i64>, lte: Option<i64>) -> Option<RangeQueryTs> {
    let bounds = RangeBoundsTs {
        gte,
        lte,
        ..RangeBoundsTs::default()
    };
    (gte.is_some() || lte.is_some()).then_some(RangeQueryTs::Bounds(bounds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stripe_client_core::StripeRequest;

    fn query(request: &impl StripeRequest) -> Vec<(String, String)> {
        let query = request.build().query.unwrap();
        let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        pairs.sort();
        pairs
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn a_list_asks_for_what_is_given_and_no_more() {
        assert_eq!(
            query(&ListPage::default().request()),
            pairs(&[("limit", "100")])
        );
        let page = ListPage {
            limit: 3,
            starting_after: Some("cus_1".into()),
            email: Some("a+b&c@x.com".into()),
            created_gte: Some(5),
            created_lte: Some(9),
        };
        let expected = [
            ("created[gte]", "5"),
            ("created[lte]", "9"),
            ("email", "a+b&c@x.com"),
            ("limit", "3"),
            ("starting_after", "cus_1"),
        ];
        assert_eq!(query(&page.request()), pairs(&expected));
    }

    #[test]
    fn events_are_asked_for_by_their_exact_types() {
        let expected = [
            ("limit", "100"),
            ("types[0]", "customer.created"),
            ("types[1]", "customer.updated"),
            ("types[2]", "customer.deleted"),
        ];
        assert_eq!(query(&EventPage::default().request()), pairs(&expected));
    }
}
