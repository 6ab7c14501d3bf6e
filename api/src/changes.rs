//! The feed of changes: every change of every customer, from either side, in order per customer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use entity::change::{self, Position};
use entity::customer::{self, Column, Entity};
use entity::installation;
use entity::message::Origin;
use entity::outbox::Kind;
use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::auth::Caller;
use crate::customers::{Customer, Customers, Json, Summaries, Summary, Tag, wait};
use crate::database::patiently;
use crate::problem::{self, Code, Documented, Problem, Refusal};

const DEFAULT_LIMIT: u32 = 100;
/// Pauses between two reads grow from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The `after` that skips all changes so far.
const NOW: &str = "now";

#[derive(Clone)]
pub(crate) struct Changes(pub(crate) Customers);

#[OpenApi(prefix_path = "/api/v1/changes", tag = "Tag::Customers")]
impl Changes {
    /// List changes
    ///
    /// Every change of every customer, made by an application or in Stripe, in order per customer, at least once. To
    /// follow them: read `after=now` once and keep `next_cursor`; list all customers; then pass the cursor as `after`, and
    /// replace it by each `next_cursor`. Nothing is skipped, also under concurrent commits. Ignore a change whose `rev` is
    /// not higher than the last one read of the same customer. Changes are kept for TIMELINE_KEPT (30 days).
    #[oai(path = "/", method = "get", operation_id = "listChanges")]
    async fn list(
        &self,
        _caller: Caller,
        /// The `next_cursor` of the page before, or `now`. Without it the page begins with the oldest change that is kept.
        #[oai(validator(max_length = 64))]
        after: Query<Option<String>>,
        /// How long to wait for a change at most, from `0s` to `60s`.
        #[oai(name = "wait", validator(max_length = 32))]
        longest: Query<Option<String>>,
        /// Maximum number of changes.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "1000"))
        )]
        limit: Query<u32>,
    ) -> Result<Listed, Refusal<Listing>> {
        let longest = wait(longest.as_deref())?;
        Ok(self.page(after.as_deref(), longest, limit.0).await?)
    }
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

struct Listing;
impl Documented for Listing {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[&[
        (
            410,
            "Changes behind this cursor are not kept any more, or the database was restored (`cursor_expired`).",
        ),
        (
            422,
            "A value can't be accepted; `field` names it (`validation_failed`).",
        ),
    ]];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ChangeType", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum Type {
    Created,
    Updated,
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ChangeOrigin", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum Source {
    /// An application, or an operator, through this API or an import.
    Application,
    /// Stripe.
    Stripe,
}

/// A change of a customer.
#[derive(Object, Serialize)]
#[oai(example)]
struct Change {
    customer_id: Uuid,
    /// The revision that the change made.
    rev: i64,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: Type,
    origin: Source,
    /// The fields that it changed; none of a deletion.
    fields: Vec<String>,
    changed_at: DateTime<Utc>,
    /// The customer as it is now, which may be at a later revision; null once a deleted one is forgotten.
    #[oai(nullable)]
    customer: Option<Customer>,
}

impl Example for Change {
    fn example() -> Self {
        Self {
            customer_id: Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001),
            rev: 1,
            kind: Type::Created,
            origin: Source::Application,
            fields: ["email", "name", "phone"].map(str::to_owned).to_vec(),
            changed_at: DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap_or_default(),
            customer: Some(Customer::example()),
        }
    }
}

/// Changes, the oldest first.
#[derive(Object, Serialize)]
#[oai(example)]
struct ChangePage {
    data: Vec<Change>,
    /// Where the next page begins, always given.
    next_cursor: String,
    /// Whether there are more changes already.
    has_more: bool,
}

impl Example for ChangePage {
    fn example() -> Self {
        Self {
            data: vec![Change::example()],
            next_cursor: "AZt22qgAcACAAAAAAAAAAQAAAAAAAAMJAAAAAAAAABc".to_owned(),
            has_more: false,
        }
    }
}

#[derive(ApiResponse)]
enum Listed {
    /// A page, which may be empty.
    #[oai(status = 200)]
    Page(Json<ChangePage>),
}

/// The customers of a page, as they are now.
type Shown = HashMap<Uuid, (customer::Model, Summary)>;

/// A page as it was read, and where the next one begins.
struct Read {
    changes: Vec<change::Change>,
    next: Position,
    has_more: bool,
}

impl Changes {
    /// A page, as soon as it has a change, or when `longest` is over. No connection is held in between.
    async fn page(
        &self,
        after: Option<&str>,
        longest: Duration,
        limit: u32,
    ) -> Result<Listed, Problem> {
        let until = Instant::now() + longest;
        let (source, mut after) = self.start(after).await?;
        let mut pause = FIRST_PAUSE;
        loop {
            let read = patiently(|| self.read(after, limit)).await?;
            let is_over = !read.changes.is_empty() || Instant::now() >= until;
            if is_over || self.0.stop.is_cancelled() {
                return self.answer(source, read).await;
            }
            after = read.next;
            let next = until.min(Instant::now() + platform::backoff::jitter(pause));
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.0.stop.cancelled() => {}
            }
            pause = LONGEST_PAUSE.min(pause.mul_f64(1.5));
        }
    }

    /// The source of the feed, and the position to begin behind.
    async fn start(&self, after: Option<&str>) -> Result<(Uuid, Position), Problem> {
        let installation = patiently(|| installation::find(&self.0.db)).await?;
        let source = installation.as_ref().map_or(Uuid::nil(), |it| it.source);
        let position = match after {
            None => Position::START,
            Some(NOW) => patiently(|| change::horizon(&self.0.db)).await?,
            Some(text) => {
                let cursor = Cursor::parse(text).ok_or_else(|| {
                    Problem::invalid("after", "after must be a next_cursor of ours, or now")
                })?;
                let forgotten = installation.map_or(Position::START, |it| it.forgotten());
                // Before the first start of a relay there is no source.
                let is_of_source = cursor.source.is_nil() || cursor.source == source;
                if !is_of_source || cursor.position < forgotten {
                    return Err(expired());
                }
                cursor.position
            }
        };
        Ok((source, position))
    }

    async fn read(&self, after: Position, limit: u32) -> Result<Read, DbErr> {
        let horizon = change::horizon(&self.0.db).await?;
        // One more than asked for, to know whether there are more.
        let mut changes = change::page(&self.0.db, after, horizon, limit + 1).await?;
        let has_more = changes.len() > limit as usize;
        changes.truncate(limit as usize);
        let last = changes.last().map(change::Change::position);
        Ok(Read {
            // An empty page moves the cursor too, so that it does not expire while nothing happens.
            next: last.unwrap_or(horizon.max(after)),
            changes,
            has_more,
        })
    }

    async fn answer(&self, source: Uuid, read: Read) -> Result<Listed, Problem> {
        let customers = patiently(|| self.customers(&read.changes)).await?;
        let cursor = Cursor {
            source,
            position: read.next,
        };
        let page = ChangePage {
            data: read
                .changes
                .iter()
                .map(|change| Change::of(change, &customers))
                .collect(),
            next_cursor: cursor.to_text(),
            has_more: read.has_more,
        };
        Ok(Listed::Page(Json::of(&page)))
    }

    async fn customers(&self, changes: &[change::Change]) -> Result<Shown, DbErr> {
        let mut ids: Vec<Uuid> = changes.iter().map(|change| change.customer_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let summaries = Summaries::read(&self.0.db, ids.iter().copied()).await?;
        let rows = Entity::find().filter(Column::Id.is_in(ids)).all(&self.0.db);
        let rows = rows.await?.into_iter();
        let shown = rows.map(|row| {
            let summary = summaries.of(&row);
            (row.id, (row, summary))
        });
        Ok(shown.collect())
    }
}

impl Change {
    fn of(change: &change::Change, customers: &Shown) -> Self {
        let members = change.fields.0.iter();
        Self {
            customer_id: change.customer_id,
            rev: change.rev,
            kind: match change.kind {
                Kind::Created => Type::Created,
                Kind::Updated => Type::Updated,
                Kind::Deleted => Type::Deleted,
            },
            origin: match change.origin {
                Origin::Application => Source::Application,
                Origin::Stripe => Source::Stripe,
            },
            fields: members.map(|member| member.as_str().to_owned()).collect(),
            changed_at: change.at,
            customer: customers
                .get(&change.customer_id)
                .map(|(row, summary)| Customer::of(row, summary.clone())),
        }
    }
}

fn expired() -> Problem {
    Problem::new(
        Code::CursorExpired,
        "changes behind this cursor are not kept any more, or the database was restored: read after=now, list all \
         customers, then continue with that cursor",
    )
    .at("after")
}

/// Opaque to clients: source, transaction and row, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    source: Uuid,
    position: Position,
}

impl Cursor {
    fn to_text(self) -> String {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(self.source.as_bytes());
        bytes[16..24].copy_from_slice(&self.position.xid.to_be_bytes());
        bytes[24..].copy_from_slice(&self.position.id.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        Some(Self {
            source: Uuid::from_slice(&bytes[..16]).ok()?,
            position: Position {
                xid: i64::from_be_bytes(bytes[16..24].try_into().ok()?),
                id: i64::from_be_bytes(bytes[24..].try_into().ok()?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursor_round_trips_and_no_text_panics(
            source in any::<u128>(), xid: i64, id: i64, text in ".{0,64}",
        ) {
            let cursor = Cursor { source: Uuid::from_u128(source), position: Position { xid, id } };
            prop_assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
            let _ = Cursor::parse(&text);
        }
    }
}
