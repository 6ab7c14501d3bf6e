//! How a slice is read, page by page, newest first, and which part of it is closed. Pure.
//!
//! A part is closed when the list has gone below it: whoever is in that part was seen. What is kept are the ids
//! of the part that is not closed yet: at most those of [`CLOSE_AT`] customers and a page, but for a second in
//! which more than those were made, which is closed as a whole.

use entity::stripe_object::Outline;

use super::seen::Seen;
use super::slice::Slice;
use crate::stripe::{LARGEST_PAGE, ListPage, Page};

/// A part is closed when so many customers were seen in it.
pub(super) const CLOSE_AT: usize = 2_000;

/// So many pages of a slice are read before it counts as large.
const LARGE: u32 = 4;

/// A slice under way.
#[derive(Debug)]
pub(super) struct Walk {
    /// What is not closed yet, and not given away.
    open: Slice,
    /// The upper end that is asked for. It stays while there is a cursor.
    asked_to: Slice,
    /// Who was on the last page and when they were made, in order; the last one is the cursor. The others are there
    /// in case that customer is deleted meanwhile.
    cursors: Vec<(String, i64)>,
    /// Who was seen in the open part.
    seen: Seen,
    /// Of whom those in the second that was reached, if that began in the last page.
    in_reached: Vec<String>,
    /// The second of the last customer.
    reached: i64,
    /// The list came newest first so far. If it does not, then nothing is closed before its end.
    is_ordered: bool,
    is_at_end: bool,
    pages_since_split: u32,
}

/// A part of Stripe's list that was read to its end, and who was in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) part: Slice,
    pub(super) seen: Seen,
}

/// A list that can't be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Odd {
    #[error("Stripe's list of customers repeats itself or is empty and says that there is more")]
    Repeated,
    #[error("Stripe's list shows customers of another time than was asked for")]
    Outside,
}

impl Walk {
    pub(super) fn of(slice: Slice) -> Self {
        Self {
            open: slice,
            asked_to: slice,
            cursors: Vec::new(),
            seen: Seen::default(),
            in_reached: Vec::new(),
            reached: slice.to,
            is_ordered: true,
            is_at_end: false,
            pages_since_split: 0,
        }
    }

    /// The page to ask for.
    pub(super) fn request(&self) -> ListPage {
        ListPage {
            limit: LARGEST_PAGE,
            starting_after: self.cursors.last().map(|(id, _)| id.clone()),
            created_gte: self.open.gte(),
            created_lte: self.asked_to.lte(),
            email: None,
        }
    }

    /// Takes the page that was asked for; returns whom no page has shown before.
    pub(super) fn take(&mut self, mut page: Page<Outline>) -> Result<Vec<Outline>, Odd> {
        self.date(&mut page.items);
        let times = page.items.iter().map(|copy| copy.created);
        let (oldest, newest) = (times.clone().min(), times.clone().max());
        if self.asked_to.lte().is_none() {
            // The ceiling: who is made from now on is told by an event, and seen by the next pass.
            self.asked_to.to = newest.unwrap_or(i64::MAX);
            self.open.to = self.asked_to.to;
            self.reached = self.open.to;
        }
        if oldest.is_some_and(|oldest| oldest < self.open.from)
            || newest.is_some_and(|newest| newest > self.asked_to.to)
        {
            return Err(Odd::Outside);
        }
        self.is_ordered &=
            times.clone().is_sorted_by(|a, b| a >= b) && newest.is_none_or(|at| at <= self.reached);
        let cursors = page.items.iter();
        let cursors = cursors.map(|copy| (copy.stripe_id.clone(), copy.created));
        self.cursors = cursors.collect();
        let mut fresh = page.items;
        let mut is_new = false;
        fresh.retain(|copy| {
            let unseen = self.seen.insert(&copy.stripe_id);
            is_new |= unseen && copy.created <= self.open.to;
            unseen
        });
        if page.has_more && !is_new {
            return Err(Odd::Repeated);
        }
        if let Some(oldest) = oldest {
            let begins_here = newest > Some(oldest) || oldest < self.reached;
            self.in_reached.clear();
            if begins_here {
                let there = fresh.iter().filter(|copy| copy.created == oldest);
                self.in_reached = there.map(|copy| copy.stripe_id.clone()).collect();
            }
            self.reached = oldest;
        }
        self.is_at_end = !page.has_more;
        self.pages_since_split += 1;
        Ok(fresh)
    }

    /// The customer that the next page was to start after is gone: the one before it will do. False if there is none.
    pub(super) fn lose_cursor(&mut self) -> bool {
        self.cursors.pop();
        let before = self.cursors.last();
        self.reached = before.map_or(self.reached, |(_, created)| *created);
        before.is_some()
    }

    /// Whether the slice was read to its end.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// What is neither closed nor given away: what another pass has to read if this one ends now.
    pub(super) fn open(&self) -> Slice {
        self.open
    }

    /// Gives the older half of what is left to somebody else, if the slice has shown itself to be large.
    pub(super) fn split(&mut self) -> Option<Slice> {
        if self.is_at_end || !self.is_ordered || self.pages_since_split < LARGE {
            return None;
        }
        let (older, rest) = self.open.halve(self.reached)?;
        self.open = rest;
        self.pages_since_split = 0;
        Some(older)
    }

    /// Gives customers that cannot be read the time of their neighbour, which is where the list has them.
    fn date(&self, items: &mut [Outline]) {
        let first = items.iter().find(|item| item.is_readable);
        let mut time = first.map_or(self.reached.min(self.asked_to.to), |item| item.created);
        for item in items {
            match item.is_readable {
                true => time = item.created,
                false => item.created = time,
            }
        }
    }

    /// Closes what can be closed: everything at the end; before it, what lies above the second that was reached,
    /// once that is enough to be worth a look.
    pub(super) fn close(&mut self) -> Option<Closed> {
        if self.is_at_end {
            return Some(Closed {
                part: self.open,
                seen: std::mem::take(&mut self.seen),
            });
        }
        let begins_in_page = !self.in_reached.is_empty() && self.reached < self.open.to;
        if !self.is_ordered || !begins_in_page || self.seen.len() < CLOSE_AT {
            return None;
        }
        let mut kept = Seen::with_capacity(CLOSE_AT + LARGEST_PAGE as usize);
        for id in &self.in_reached {
            kept.insert(id);
            self.seen.remove(id);
        }
        let part = Slice {
            from: self.reached + 1,
            to: self.open.to,
        };
        self.open.to = self.reached;
        let seen = std::mem::replace(&mut self.seen, kept);
        Some(Closed { part, seen })
    }
}

#[cfg(test)]
mod tests;
