//! The events cursor: what Stripe says has happened since the last look goes into the inbox.
//!
//! Times of events are whole seconds and no order; so each look goes back a little behind the cursor,
//! and the ids tell what is new.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::stripe_event::{self, Event, Source};
use platform::database::within_bounds;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::pace::{Evidence, evidence};
use super::state;
use crate::engine::Engine;
use crate::stripe::{EventPage, Lane};

/// How far behind the cursor each look goes, in seconds: events may appear late.
const OVERLAP_SECONDS: i64 = 30;

/// The same for the first look behind a flood, which a full pass makes up for: the flood must not be read again and again.
const OVERLAP_AFTER_FLOOD_SECONDS: i64 = 10;

/// Stripe keeps events for 30 days. A cursor that is older has missed some.
const CURSOR_LIFE_SECONDS: i64 = 29 * 24 * 3600;

/// A cursor that is further ahead of Stripe's clock than this was moved by no honest event.
const AHEAD_SECONDS: i64 = 300;

/// More new events than a full pass would read pages; then a full pass is cheaper and surer.
const TOO_MANY: usize = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many new events are in the inbox.
    New(usize),
    /// The cursor is lost or too far behind: a full pass has to find what was missed.
    NeedsPass,
}

/// What a poll did, and what it tells of the webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    pub polled: Polled,
    pub evidence: Evidence,
}

impl Poll {
    fn silent(polled: Polled) -> Self {
        Self {
            polled,
            evidence: Evidence::None,
        }
    }
}

/// Reads the new events into the inbox. One request and no write when nothing has happened.
pub async fn poll(engine: &Engine) -> anyhow::Result<Polled> {
    Ok(poll_with_evidence(engine).await?.polled)
}

/// The same, and says whether the webhooks work.
///
/// # Errors
/// Stripe or the database is away; the cursor has not moved.
pub async fn poll_with_evidence(engine: &Engine) -> anyhow::Result<Poll> {
    let now = engine.now(&engine.db).await?;
    let state = state::load(&engine.db, now).await?;
    let Some(cursor) = state.events_cursor else {
        start_at_newest(engine, now).await?;
        return Ok(Poll::silent(Polled::NeedsPass));
    };
    if cursor > 0 && now.timestamp() - cursor > CURSOR_LIFE_SECONDS {
        if start_at_newest(engine, now).await? == cursor {
            // Nothing has happened since, so nothing was missed.
            return Ok(Poll::silent(Polled::New(0)));
        }
        tracing::info!(
            "the events cursor is older than Stripe keeps events; a full pass makes up for it"
        );
        return Ok(Poll::silent(Polled::NeedsPass));
    }
    let Some(listed) = read_since(engine, cursor, now).await? else {
        tracing::info!("too many events since the last look; a full pass makes up for them");
        let passed = OVERLAP_SECONDS - OVERLAP_AFTER_FLOOD_SECONDS;
        start_after_newest(engine, passed, now).await?;
        return Ok(Poll::silent(Polled::NeedsPass));
    };
    let Listed {
        fresh,
        newest,
        by_webhook,
        served_at,
    } = listed;
    if served_at.is_some_and(|present| cursor > present + AHEAD_SECONDS) {
        tracing::warn!(
            "the events cursor is ahead of Stripe's clock; a full pass makes up for what it has passed over"
        );
        start_at_newest(engine, now).await?;
        return Ok(Poll::silent(Polled::NeedsPass));
    }
    let poll = Poll {
        polled: Polled::New(fresh.len()),
        evidence: evidence(&fresh, by_webhook, newest.max(now.timestamp())),
    };
    if fresh.is_empty() && newest <= cursor {
        return Ok(poll);
    }
    engine.steps.reach("events: read").await;
    let storing = async {
        let tx = engine.begin().await?;
        stripe_event::receive(&tx, &fresh, Source::Poll, now).await?;
        state::store(&tx, now, |state| {
            state.events_cursor = Set(Some(newest.max(cursor)));
            match poll.evidence {
                Evidence::Work => state.webhooks_proven_at = Set(Some(now)),
                Evidence::Fail => state.webhooks_proven_at = Set(None),
                Evidence::None => {}
            }
        })
        .await?;
        engine.steps.reach_commit("events: commit").await;
        tx.commit().await
    };
    within_bounds(storing).await?;
    Ok(poll)
}

/// Sets the cursor to Stripe's newest event, by Stripe's clock and not by ours, and returns it. The full
/// pass that follows covers everything before it, so it must not go on with one that began earlier.
async fn start_at_newest(engine: &Engine, now: DateTime<Utc>) -> anyhow::Result<i64> {
    start_after_newest(engine, 0, now).await
}

/// The same, with the cursor this many seconds after the newest event.
async fn start_after_newest(
    engine: &Engine,
    seconds: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<i64> {
    let page = EventPage {
        limit: 1,
        ..EventPage::default()
    };
    let reply = engine
        .stripe
        .events(Lane::Downsync, &page)
        .await
        .context("reading Stripe's newest event")?;
    engine.steps.reach("events: newest read").await;
    let present = reply.served_at.unwrap_or(now.timestamp());
    let newest = match reply.value.items.first() {
        // Whatever its time says, what comes from now on is newer.
        Some(event) => event.created.clamp(0, present.max(0)),
        None if reply.value.cursor.is_some() => present.max(0),
        None => 0,
    };
    state::store(&engine.db, now, |state| {
        state.events_cursor = Set(Some(newest + seconds));
        state.pass_progress = Set(None);
    })
    .await?;
    Ok(newest)
}

/// What a look at the events shows.
#[derive(Default)]
struct Listed {
    /// Those that are not in the inbox yet.
    fresh: Vec<Event>,
    /// When the newest of all was created; 0 if there is none.
    newest: i64,
    /// How many webhooks have brought since the last look.
    by_webhook: usize,
    /// When Stripe has answered, by its own clock.
    served_at: Option<i64>,
}

/// The events since a little before the cursor; `None` if too many of them are new.
async fn read_since(
    engine: &Engine,
    cursor: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<Listed>> {
    let mut listed = Listed::default();
    let mut seen: HashSet<String> = HashSet::new();
    let mut passed: HashSet<String> = HashSet::new();
    let mut page = EventPage {
        limit: 100,
        created_gte: Some((cursor - OVERLAP_SECONDS).max(0)),
        starting_after: None,
    };
    loop {
        let reply = engine
            .stripe
            .events(Lane::Downsync, &page)
            .await
            .context("reading Stripe's events")?;
        listed.served_at = listed.served_at.or(reply.served_at);
        let present = listed.served_at.unwrap_or(now.timestamp());
        let reply = reply.value;
        let ids: Vec<String> = reply.items.iter().map(|event| event.id.clone()).collect();
        let known = within_bounds(known(engine, &ids)).await?;
        for event in reply.items {
            if !seen.insert(event.id.clone()) {
                continue;
            }
            // A time in the future would move the cursor over events that are still to come.
            let is_past = event.created <= present;
            if is_past {
                listed.newest = listed.newest.max(event.created);
            }
            match known.get(&event.id) {
                None => listed.fresh.push(event),
                // One of the overlap was counted by the look before.
                Some(source) if event.created > cursor && is_past => {
                    listed.by_webhook += usize::from(source == Source::Webhook.as_str());
                }
                Some(_) => {}
            }
        }
        if !reply.has_more {
            return Ok(Some(listed));
        }
        if listed.fresh.len() > TOO_MANY {
            return Ok(None);
        }
        // An event that is left out moves the list on as well.
        let Some(last) = reply.cursor.filter(|last| passed.insert(last.clone())) else {
            bail!("Stripe's list of events repeats itself or is empty and says that there is more");
        };
        page.starting_after = Some(last);
    }
}

/// Those that are in the inbox, and who told of them.
async fn known(engine: &Engine, ids: &[String]) -> anyhow::Result<HashMap<String, String>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let known: Vec<(String, String)> = stripe_event::Entity::find()
        .select_only()
        .column(stripe_event::Column::Id)
        .column(stripe_event::Column::Source)
        .filter(stripe_event::Column::Id.is_in(ids))
        .into_tuple()
        .all(&engine.db)
        .await?;
    Ok(known.into_iter().collect())
}
