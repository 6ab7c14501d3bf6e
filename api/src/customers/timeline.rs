//! What happened to a customer, from its commit to Stripe and back, page by page, the newest last.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use entity::customer;
use entity::timeline::{self, Entry, Place, Step};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object};
use sea_orm::ActiveEnum;
use serde::Serialize;

use super::Customers;
use super::key::Key;
use super::representation::Json;
use crate::database::patiently;
use crate::problem::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "TimelineStep", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum StepName {
    /// The customer was changed here.
    Commit,
    /// The broker has the change.
    Publish,
    /// A request to Stripe began.
    Push,
    /// What came of it.
    Outcome,
    /// Stripe was seen to differ.
    Drift,
    /// What was done about it here.
    Apply,
}

/// One thing that happened. It holds names of fields and codes, and no values.
#[derive(Object, Serialize)]
#[oai(example)]
struct TimelineEntry {
    at: DateTime<Utc>,
    step: StepName,
    /// The revision of the customer that it is about.
    #[oai(nullable)]
    rev: Option<i64>,
    /// Of a commit `created`, `updated` or `deleted`; of a push `create`, `update`, `delete` or `detach`; of a drift
    /// `edited` or `deleted`.
    #[oai(nullable)]
    kind: Option<String>,
    /// Of a commit: `application` or `stripe`.
    #[oai(nullable)]
    origin: Option<String>,
    /// What came of it, such as `done`, `later`, `parked`, `taken`, `agreed` or `put_aside`.
    #[oai(nullable)]
    result: Option<String>,
    /// Why it was parked or is tried again.
    #[oai(nullable)]
    reason: Option<String>,
    fields: Vec<String>,
    /// Stripe's id of the request.
    #[oai(nullable)]
    request_id: Option<String>,
    /// The how many-th attempt in a row. Of many in a row ever fewer are told.
    #[oai(nullable)]
    attempt: Option<i32>,
}

impl From<Entry> for TimelineEntry {
    fn from(entry: Entry) -> Self {
        let fields = entry.detail.fields.iter();
        Self {
            at: entry.place.at,
            step: match entry.step {
                Step::Commit => StepName::Commit,
                Step::Publish => StepName::Publish,
                Step::Push => StepName::Push,
                Step::Outcome => StepName::Outcome,
                Step::Drift => StepName::Drift,
                Step::Apply => StepName::Apply,
            },
            rev: entry.rev,
            fields: fields.map(|member| member.as_str().to_owned()).collect(),
            kind: entry.detail.kind,
            origin: entry.detail.origin.map(|origin| origin.to_value()),
            result: entry.detail.result,
            reason: entry.detail.reason,
            request_id: entry.detail.request_id,
            attempt: entry.detail.attempt,
        }
    }
}

impl Example for TimelineEntry {
    fn example() -> Self {
        Self {
            at: DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap_or_default(),
            step: StepName::Outcome,
            rev: Some(1),
            kind: Some("create".to_owned()),
            origin: None,
            result: Some("done".to_owned()),
            reason: None,
            fields: Vec::new(),
            request_id: Some("req_1a2b3c4d5e6f7g".to_owned()),
            attempt: Some(1),
        }
    }
}

/// What happened, the newest last.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct TimelinePage {
    data: Vec<TimelineEntry>,
    /// For the next page; null on the last one.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

impl Example for TimelinePage {
    fn example() -> Self {
        Self {
            data: vec![TimelineEntry::example()],
            next_cursor: None,
        }
    }
}

#[derive(ApiResponse)]
pub(super) enum Told {
    /// A page, which may be empty.
    #[oai(status = 200)]
    Page(Json<TimelinePage>),
}

impl Customers {
    pub(super) async fn timeline(
        &self,
        key: &Key,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Told, Problem> {
        let refused = || Problem::invalid("cursor", "cursor must be a next_cursor of ours");
        let behind = cursor.map(|text| read_cursor(text).ok_or_else(refused));
        let behind = behind.transpose()?;
        // A tombstone has no e-mail of its own any more, but it has its id.
        let id = match key {
            Key::Id(id) => *id,
            Key::Email(_) => self.find(key).await?.id,
        };
        let known = patiently(|| customer::find(&self.db, id)).await?;
        known.ok_or_else(Problem::no_such_customer)?;
        let count = u64::from(limit) + 1;
        let mut entries = patiently(|| timeline::page(&self.db, id, behind, count)).await?;
        let more = entries.len() > limit as usize;
        entries.truncate(limit as usize);
        let last = entries.last().filter(|_| more);
        let page = TimelinePage {
            next_cursor: last.map(|entry| cursor_of(entry.place)),
            data: entries.into_iter().map(TimelineEntry::from).collect(),
        };
        Ok(Told::Page(Json::of(&page)))
    }
}

/// Opaque to clients: microseconds, rank and number, in bytes.
fn cursor_of(place: Place) -> String {
    let mut bytes = [0; 17];
    bytes[..8].copy_from_slice(&place.at.timestamp_micros().to_be_bytes());
    bytes[8] = place.rank;
    bytes[9..].copy_from_slice(&place.number.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Option<Place> {
    let bytes: [u8; 17] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let micros = i64::from_be_bytes(bytes[..8].try_into().ok()?);
    Some(Place {
        at: DateTime::from_timestamp_micros(micros).filter(|_| micros >= 0)?,
        rank: bytes[8],
        number: i64::from_be_bytes(bytes[9..].try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_names_its_place_and_no_text_panics(
            micros in 0..253_402_300_799_000_000_i64, rank in 0..4_u8, number: i64, text in ".{0,40}",
        ) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            let place = Place { at, rank, number };
            prop_assert_eq!(read_cursor(&cursor_of(place)), Some(place));
            let _ = read_cursor(&text);
        }
    }
}
