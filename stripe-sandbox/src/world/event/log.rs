//! The last thirty days of events, oldest first, bounded in number as well. Their dates never fall, so a page
//! of any range of time costs no more than what its other filters leave out.

use std::collections::{HashMap, VecDeque};

use super::record::{Event, Id, PREFIX, type_matches};
use crate::wire::error::Error;
use crate::wire::form::Form;
use crate::wire::page::{Created, Page, Window};

const KEPT_SECONDS: i64 = 30 * 24 * 3600;
const TYPES_MAX: usize = 20;

pub(crate) struct Log {
    events: VecDeque<Event>,
    /// The number of events that were ever dropped: event `n` since the start lies at `n - dropped`.
    dropped: u64,
    places: HashMap<Id, u64>,
    max: usize,
}

/// The filters of `GET /v1/events`.
pub(crate) struct Filter {
    created: Created,
    types: Vec<String>,
    delivery_success: Option<bool>,
}

impl Filter {
    pub(crate) fn take(form: &mut Form) -> Result<Self, Error> {
        let created = Created::take(form)?;
        let kind = form.take("type")?;
        let types = form.take_list("types")?;
        if kind.is_some() && types.is_some() {
            let message = "You can specify only one of these parameters: type, types.";
            return Err(Error::bad("types", message).code("parameters_exclusive"));
        }
        let types = types.unwrap_or_default();
        if types.len() > TYPES_MAX {
            return Err(Error::bad(
                "types",
                format!("Array must contain at most {TYPES_MAX} elements."),
            ));
        }
        let delivery_success = match form.take("delivery_success")?.as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => {
                return Err(Error::bad(
                    "delivery_success",
                    format!("Invalid boolean: {other}"),
                ));
            }
        };
        Ok(Self {
            created,
            types: types.into_iter().chain(kind).collect(),
            delivery_success,
        })
    }

    fn admits(&self, event: &Event) -> bool {
        (self.types.is_empty()
            || self
                .types
                .iter()
                .any(|wanted| type_matches(wanted, event.head.kind.name())))
            && self
                .delivery_success
                .is_none_or(|wanted| wanted == (event.head.pending == 0))
    }
}

impl Log {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            dropped: 0,
            places: HashMap::new(),
            max: max.max(1),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// The date of an event of the second `now`: never before an older one, whatever the clock does.
    pub(crate) fn dated(&self, now: i64) -> i64 {
        self.events
            .back()
            .map_or(now, |newest| now.max(newest.head.created))
    }

    pub(crate) fn push(&mut self, mut event: Event) {
        // An old file may still hold others.
        event.head.created = self.dated(event.head.created);
        self.prune(event.head.created);
        if self.events.len() >= self.max {
            self.drop_oldest();
        }
        self.places
            .insert(event.head.id, self.dropped + self.events.len() as u64);
        self.events.push_back(event);
    }

    /// Forgets what is older than thirty days at the second `now`.
    pub(crate) fn prune(&mut self, now: i64) {
        while self
            .events
            .front()
            .is_some_and(|event| event.head.created < now - KEPT_SECONDS)
        {
            self.drop_oldest();
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Event> {
        self.place(id).map(|place| &self.events[place])
    }

    pub(crate) fn contains(&self, id: Id) -> bool {
        self.places.contains_key(&id)
    }

    /// Notes that one more endpoint took the event.
    pub(crate) fn delivered(&mut self, id: Id) {
        if let Some(event) = self.places.get(&id).and_then(|number| {
            let place = usize::try_from(number - self.dropped).ok()?;
            self.events.get_mut(place)
        }) {
            event.head.pending = event.head.pending.saturating_sub(1);
        }
    }

    pub(crate) fn page(&self, filter: &Filter, window: &Window) -> Result<Page<Event>, Error> {
        let cursor = match window.cursor() {
            None => None,
            Some((param, id)) => {
                let place = self.place(id);
                Some(place.ok_or_else(|| {
                    Error::bad(param, format!("No such event: '{id}'")).code("resource_missing")
                })?)
            }
        };
        let side = window.side(self.events.len(), cursor);
        let Created { min, max } = filter.created;
        let start = self.events.partition_point(|it| it.head.created < min);
        let end = self.events.partition_point(|it| it.head.created <= max);
        let (start, end) = (start.max(side.start), end.min(side.end));
        Ok(window.collect(start..end.max(start), |place| {
            Some(&self.events[place])
                .filter(|event| filter.admits(event))
                .cloned()
        }))
    }

    fn place(&self, id: &str) -> Option<usize> {
        let number = self.places.get(&Id::parse(PREFIX, id)?)?;
        usize::try_from(number - self.dropped).ok()
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.places.remove(&event.head.id);
            self.dropped += 1;
        }
    }
}
