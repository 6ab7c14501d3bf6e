//! The customers of an account in the order of their creation, with an index by id and one by e-mail.
//! A page costs its own length wherever its cursor stands, and a look at each block that is deleted as a whole.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::record::{Customer, Id, PREFIX};
use crate::wire::error::Error;
use crate::wire::form::Form;
use crate::wire::page::{Created, Page, Window};

/// Neighbouring places whose customers are counted together.
const BLOCK: usize = 256;

#[derive(Default)]
pub(crate) struct Store {
    /// Deleted ones keep their place, so that a cursor on one still means something.
    slots: Vec<Arc<Customer>>,
    places: HashMap<Id, u32>,
    /// Hash of the lower-case address and place: addresses repeat, and differ in case only.
    emails: BTreeSet<(u64, u32)>,
    live: usize,
    /// The same, block by block, so that a page may pass over what is deleted.
    live_in: Vec<u16>,
}

/// The filters of `GET /v1/customers`.
pub(crate) struct Filter {
    pub(crate) created: Created,
    pub(crate) email: Option<String>,
    /// Without it, customers of test clocks are left out.
    pub(crate) test_clock: Option<String>,
}

impl Filter {
    pub(crate) fn take(form: &mut Form) -> Result<Self, Error> {
        Ok(Self {
            created: Created::take(form)?,
            email: form.take("email")?,
            test_clock: form.take("test_clock")?,
        })
    }

    fn admits(&self, customer: &Customer) -> bool {
        !customer.deleted
            && self.created.contains(customer.created)
            && self
                .email
                .as_deref()
                .is_none_or(|email| customer.email.as_deref() == Some(email))
            && self.test_clock.as_deref() == customer.test_clock()
    }
}

impl Store {
    /// Customers that are not deleted.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// All that ever were.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Arc<Customer>> {
        self.places
            .get(&id)
            .map(|place| &self.slots[*place as usize])
    }

    /// The customer named by an URL, deleted ones included.
    pub(crate) fn find(&self, id: &str) -> Option<&Arc<Customer>> {
        self.get(Id::parse(PREFIX, id)?)
    }

    pub(crate) fn newest_created(&self) -> i64 {
        self.slots
            .last()
            .map_or(i64::MIN, |customer| customer.created)
    }

    /// Adds it, or replaces the one of the same id in its place.
    pub(crate) fn put(&mut self, customer: Arc<Customer>) {
        let next =
            u32::try_from(self.slots.len()).expect("four billion customers do not fit a memory");
        let place = *self.places.entry(customer.id).or_insert(next);
        let block = place as usize / BLOCK;
        if place == next {
            self.slots.push(customer.clone());
            self.live_in.resize(block + 1, 0);
        } else {
            let old = std::mem::replace(&mut self.slots[place as usize], customer.clone());
            self.live -= usize::from(!old.deleted);
            self.live_in[block] -= u16::from(!old.deleted);
            if let Some(email) = &old.email {
                self.emails.remove(&(email_hash(email), place));
            }
        }
        self.live += usize::from(!customer.deleted);
        self.live_in[block] += u16::from(!customer.deleted);
        if let Some(email) = &customer.email {
            self.emails.insert((email_hash(email), place));
        }
    }

    /// These customers and `others`, both oldest first, as one account has them. Within a second these come
    /// first. No id may be in both.
    pub(crate) fn merged(&self, others: Vec<Arc<Customer>>) -> Self {
        let total = self.slots.len() + others.len();
        let mut merged = Self {
            slots: Vec::with_capacity(total),
            places: HashMap::with_capacity(total),
            ..Self::default()
        };
        let mut others = others.into_iter().peekable();
        for customer in &self.slots {
            while let Some(older) = others.next_if(|other| other.created < customer.created) {
                merged.put(older);
            }
            merged.put(customer.clone());
        }
        others.for_each(|customer| merged.put(customer));
        merged
    }

    /// Every customer that is not deleted, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Customer>> {
        self.slots.iter().rev().filter(|customer| !customer.deleted)
    }

    /// Every customer that ever was, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Customer>> {
        self.slots.iter()
    }

    pub(crate) fn page(
        &self,
        filter: &Filter,
        window: &Window,
        deleted_cursor_works: bool,
    ) -> Result<Page<Arc<Customer>>, Error> {
        let cursor = match window.cursor() {
            None => None,
            Some((param, id)) => Some(self.cursor(param, id, deleted_cursor_works)?),
        };
        let side = window.side(self.slots.len(), cursor);
        let take = |place: usize| {
            Some(&self.slots[place])
                .filter(|it| filter.admits(it))
                .cloned()
        };
        Ok(match &filter.email {
            Some(email) => window.collect(
                self.with_email(email).filter(|place| side.contains(place)),
                take,
            ),
            None => {
                // Creation times never fall along the slots, so a range of them is a range of places.
                let start = self
                    .slots
                    .partition_point(|it| it.created < filter.created.min)
                    .max(side.start);
                let end = self
                    .slots
                    .partition_point(|it| it.created <= filter.created.max)
                    .min(side.end);
                window.collect(self.inhabited(start..end.max(start)), take)
            }
        })
    }

    /// The matches of `admits` older than the place `before`, newest first, each with its place.
    pub(crate) fn scan(
        &self,
        before: Option<usize>,
        email: Option<&str>,
        limit: usize,
        admits: impl Fn(&Customer) -> bool,
    ) -> Vec<(usize, Arc<Customer>)> {
        let end = before.unwrap_or(self.slots.len()).min(self.slots.len());
        let take = |place: usize| {
            let customer = &self.slots[place];
            (!customer.deleted && admits(customer)).then(|| (place, customer.clone()))
        };
        match email {
            Some(email) => self
                .with_email(email)
                .rev()
                .filter(|place| *place < end)
                .filter_map(take)
                .take(limit)
                .collect(),
            None => {
                let places = self.inhabited(0..end).rev();
                places.filter_map(take).take(limit).collect()
            }
        }
    }

    /// The places of a range without those blocks in which everybody is deleted.
    fn inhabited(
        &self,
        Range { start, end }: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = usize> {
        (start / BLOCK..end.div_ceil(BLOCK))
            .filter(|block| self.live_in[*block] > 0)
            .flat_map(move |block| {
                let first = block * BLOCK;
                first.max(start)..(first + BLOCK).min(end)
            })
    }

    /// The places of the customers with this address in any case, and of the few others whose hash is the same.
    fn with_email(&self, email: &str) -> impl DoubleEndedIterator<Item = usize> {
        let hash = email_hash(email);
        self.emails
            .range((hash, 0)..=(hash, u32::MAX))
            .map(|(_, place)| *place as usize)
    }

    fn cursor(&self, param: &'static str, id: &str, deleted_works: bool) -> Result<usize, Error> {
        Id::parse(PREFIX, id)
            .and_then(|id| self.places.get(&id))
            .map(|place| *place as usize)
            .filter(|place| deleted_works || !self.slots[*place].deleted)
            .ok_or_else(|| {
                Error::bad(param, format!("No such customer: '{id}'")).code("resource_missing")
            })
    }
}

fn email_hash(email: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    email.to_lowercase().hash(&mut hasher);
    hasher.finish()
}
