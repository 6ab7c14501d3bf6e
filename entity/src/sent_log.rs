//! The recent updates of one customer: the stamps that each of them wrote, and what it was to replace.
//!
//! An update is recorded before it is sent. So a stamp in Stripe that is not recorded was not written from this
//! database, for instance because the database was restored from a backup since.

use std::collections::{BTreeMap, VecDeque};

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

use crate::fields::{Field, Fields};
use crate::stamp::{Stamp, Stamps};

/// Updates that are kept, the latest ones. Enough for those that Stripe may still execute, and for those whose events
/// were not read yet.
const CAPACITY: usize = 32;

/// One update as it was sent last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentUpdate {
    /// What it wrote: names the update.
    sent: Stamps,
    /// The stamps that Stripe was known to hold in these fields.
    known: Stamps,
    /// The values that both sides agreed on, by field: what Stripe should have held.
    replaces: BTreeMap<Field, Option<String>>,
}

impl SentUpdate {
    /// An update with these stamps, of a link with this base and these known stamps.
    pub fn new(sent: Stamps, base: &Fields, pushed: Option<&Stamps>) -> Self {
        let mut known = Stamps::default();
        let mut replaces = BTreeMap::new();
        for (field, _) in sent.iter() {
            if let Some(stamp) = pushed.and_then(|pushed| pushed.get(field)) {
                known.set(field, stamp.clone());
            }
            replaces.insert(field, base.get(field).map(str::to_owned));
        }
        Self {
            sent,
            known,
            replaces,
        }
    }

    /// The value that it was to replace.
    pub fn replaces(&self, field: Field) -> Option<&str> {
        self.replaces.get(&field)?.as_deref()
    }

    /// The stamp that it was to replace.
    pub fn known(&self, field: Field) -> Option<&Stamp> {
        self.known.get(field)
    }
}

/// The latest updates, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct SentLog(VecDeque<SentUpdate>);

impl SentLog {
    /// Records an update that is about to be sent. One that is sent again replaces its earlier record.
    pub fn record(&mut self, update: SentUpdate) {
        self.0.retain(|known| known.sent != update.sent);
        self.0.push_back(update);
        if self.0.len() > CAPACITY {
            self.0.pop_front();
        }
    }

    /// The update that wrote a stamp.
    pub fn find(&self, field: Field, stamp: &Stamp) -> Option<&SentUpdate> {
        let wrote = |update: &&SentUpdate| update.sent.get(field) == Some(stamp);
        self.0.iter().rev().find(wrote)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn named(name: &str) -> Fields {
        Fields {
            name: Some(name.to_owned()),
            ..Fields::default()
        }
    }

    fn stamps(rev: i64, name: &str) -> Stamps {
        Stamps::of((rev, Uuid::nil()), &named(name), &[Field::Name])
    }

    fn stamp(rev: i64, name: &str) -> Stamp {
        stamps(rev, name).get(Field::Name).unwrap().clone()
    }

    #[test]
    fn update_is_found_by_its_stamp_and_says_what_it_replaces() {
        let mut log = SentLog::default();
        let pushed = stamps(1, "a");
        log.record(SentUpdate::new(stamps(2, "b"), &named("a"), Some(&pushed)));
        let found = log.find(Field::Name, &stamp(2, "b")).unwrap();
        assert_eq!(found.replaces(Field::Name), Some("a"));
        assert_eq!(found.known(Field::Name), pushed.get(Field::Name));
        assert_eq!(found.replaces(Field::Phone), None);
        assert_eq!(log.find(Field::Name, &stamp(2, "c")), None);
        assert_eq!(log.find(Field::Phone, &stamp(2, "b")), None);
        let json = serde_json::to_value(&log).unwrap();
        assert_eq!(serde_json::from_value::<SentLog>(json).unwrap(), log);
    }

    #[test]
    fn update_sent_again_is_recorded_once_with_its_latest_base() {
        let mut log = SentLog::default();
        log.record(SentUpdate::new(stamps(2, "b"), &named("a"), None));
        log.record(SentUpdate::new(stamps(2, "b"), &named("x"), None));
        let found = log.find(Field::Name, &stamp(2, "b")).unwrap();
        assert_eq!((log.0.len(), found.replaces(Field::Name)), (1, Some("x")));
    }

    #[test]
    fn oldest_updates_are_dropped() {
        let mut log = SentLog::default();
        for rev in 0..=CAPACITY as i64 {
            log.record(SentUpdate::new(stamps(rev, "b"), &named("a"), None));
        }
        assert_eq!(log.0.len(), CAPACITY);
        assert!(log.find(Field::Name, &stamp(0, "b")).is_none());
        assert!(log.find(Field::Name, &stamp(1, "b")).is_some());
    }
}
