//! One page of a newest-first list: limit, cursors and the `created` filter, as every Stripe list has them.

use crate::wire::error::Error;
use crate::wire::form::{Form, Hash};

const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 100;

/// Which part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) limit: usize,
    pub(crate) from: From,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Newest,
    /// `starting_after`: what is older than this object.
    After(String),
    /// `ending_before`: what is newer than this object, the nearest to it.
    Before(String),
}

pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) has_more: bool,
}

/// The seconds in which an object was created, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Window {
    pub(crate) fn take(form: &mut Form) -> Result<Self, Error> {
        let limit = take_limit(form)?;
        let from = match (form.take("starting_after")?, form.take("ending_before")?) {
            (Some(_), Some(_)) => {
                let message =
                    "You can specify only one of these parameters: ending_before, starting_after.";
                return Err(Error::bad("ending_before", message).code("parameters_exclusive"));
            }
            (Some(id), None) => From::After(id),
            (None, Some(id)) => From::Before(id),
            (None, None) => From::Newest,
        };
        Ok(Self { limit, from })
    }

    /// Collects the page out of `places`, the positions (oldest first) that lie on the asked side of the
    /// cursor; `item` gives None for what the filters leave out.
    pub(crate) fn collect<T>(
        &self,
        places: impl DoubleEndedIterator<Item = usize>,
        mut item: impl FnMut(usize) -> Option<T>,
    ) -> Page<T> {
        let wanted = self.limit.saturating_add(1);
        let forward = matches!(self.from, From::Before(_));
        let mut items: Vec<T> = if forward {
            places.filter_map(&mut item).take(wanted).collect()
        } else {
            places.rev().filter_map(&mut item).take(wanted).collect()
        };
        let has_more = items.len() > self.limit;
        items.truncate(self.limit);
        if forward {
            items.reverse();
        }
        Page { items, has_more }
    }

    /// The places in `0..len` on the asked side of `cursor`, the place that the cursor's object holds.
    pub(crate) fn side(&self, len: usize, cursor: Option<usize>) -> std::ops::Range<usize> {
        match (&self.from, cursor) {
            (From::After(_), Some(place)) => 0..place,
            (From::Before(_), Some(place)) => place + 1..len,
            _ => 0..len,
        }
    }

    pub(crate) fn cursor(&self) -> Option<(&'static str, &str)> {
        match &self.from {
            From::Newest => None,
            From::After(id) => Some(("starting_after", id)),
            From::Before(id) => Some(("ending_before", id)),
        }
    }
}

impl Created {
    pub(crate) const ANY: Self = Self {
        min: i64::MIN,
        max: i64::MAX,
    };

    pub(crate) fn take(form: &mut Form) -> Result<Self, Error> {
        let mut range = Self::ANY;
        // A plain number first: `take_hash` would refuse it as no hash.
        let mut plain = form.clone();
        if let Ok(Some(text)) = plain.take("created") {
            *form = plain;
            if let Some(second) =
                Form::from_pairs([("created", text.as_str())]).take_integer("created")?
            {
                range = Self {
                    min: second,
                    max: second,
                };
            }
            return Ok(range);
        }
        if let Some(Hash::Fields(mut bounds)) = form.take_hash("created")? {
            if let Some(bound) = bounds.take_integer("gt")? {
                range.min = range.min.max(bound.saturating_add(1));
            }
            if let Some(bound) = bounds.take_integer("gte")? {
                range.min = range.min.max(bound);
            }
            if let Some(bound) = bounds.take_integer("lt")? {
                range.max = range.max.min(bound.saturating_sub(1));
            }
            if let Some(bound) = bounds.take_integer("lte")? {
                range.max = range.max.min(bound);
            }
            bounds.finish()?;
        }
        Ok(range)
    }

    pub(crate) fn contains(&self, second: i64) -> bool {
        (self.min..=self.max).contains(&second)
    }
}

pub(crate) fn take_limit(form: &mut Form) -> Result<usize, Error> {
    let limit = form.take_integer("limit")?.unwrap_or(LIMIT_DEFAULT);
    let message = if limit < 1 {
        "This value must be greater than or equal to 1.".to_owned()
    } else if limit > LIMIT_MAX {
        format!("This value must be less than or equal to {LIMIT_MAX} (it currently is '{limit}').")
    } else {
        return Ok(usize::try_from(limit).unwrap_or(1));
    };
    Err(Error::bad("limit", message).code("parameter_invalid_integer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, cursor: Option<usize>) -> (Vec<usize>, bool) {
        let window = Window::take(&mut Form::parse(query.as_bytes())).unwrap();
        let page = window.collect(window.side(10, cursor), Some);
        (page.items, page.has_more)
    }

    #[test]
    fn pages_are_newest_first_on_either_side_of_a_cursor() {
        assert_eq!(page("limit=3", None), (vec![9, 8, 7], true));
        assert_eq!(
            page("limit=3&starting_after=x", Some(2)),
            (vec![1, 0], false)
        );
        assert_eq!(
            page("limit=3&ending_before=x", Some(2)),
            (vec![5, 4, 3], true)
        );
        assert_eq!(
            page("limit=3&ending_before=x", Some(7)),
            (vec![9, 8], false)
        );
    }

    #[test]
    fn a_limit_outside_1_to_100_is_refused() {
        for limit in ["0", "101", "-1", "ten"] {
            let refused = Window::take(&mut Form::from_pairs([("limit", limit)])).unwrap_err();
            assert_eq!(
                (refused.status, refused.param.as_deref()),
                (400, Some("limit"))
            );
        }
    }

    #[test]
    fn created_is_a_second_or_a_range() {
        let take = |query: &str| Created::take(&mut Form::parse(query.as_bytes())).unwrap();
        assert_eq!(take("created=5"), Created { min: 5, max: 5 });
        assert_eq!(
            take("created[gt]=5&created[lte]=9"),
            Created { min: 6, max: 9 }
        );
        assert_eq!(take(""), Created::ANY);
    }
}
