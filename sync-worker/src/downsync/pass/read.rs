//! Reads Stripe's customers, several slices side by side. Whoever has nothing to read takes the older half of a
//! slice that has shown itself to be large.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::message::Drift;
use sea_orm::DbErr;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Counts;
use super::compare::{Compared, Glance, all_new, compare, glance, missing};
use super::newcomers;
use super::progress::{Progress, StoredAt};
use super::shown::Shown;
use super::slice::Slice;
use super::walk::{Closed, Walk};
use crate::downsync::publish::Drifts;
use crate::engine::Engine;
use crate::poison::Watch;
use crate::stripe::{Failure, Lane, Outlined};

/// How long pages count as read at one time.
const SHARED_FOR: Duration = Duration::from_millis(500);

/// A pass under way.
pub(super) struct Reading {
    engine: Engine,
    stop: CancellationToken,
    drifts: tokio::sync::Mutex<Drifts>,
    /// Everybody goes by a message: if one of them ends the process, it must be known which.
    is_careful: bool,
    work: Mutex<Work>,
    /// There is a slice to take, or nothing will come any more.
    moved: Notify,
}

struct Work {
    /// Of what is closed. What is left to read is in the next two.
    progress: Progress,
    waiting: Vec<Slice>,
    /// What each reader has taken and not closed yet.
    taken: Vec<Option<Slice>>,
    stored_at: StoredAt,
}

impl Reading {
    pub(super) async fn new(
        engine: &Engine,
        (drifts, stop): (Drifts, &CancellationToken),
        progress: Progress,
        now: DateTime<Utc>,
    ) -> Result<Self, DbErr> {
        let readers = engine.policy.slices_at_once.max(1);
        let readers = engine.steps.side_by_side(readers);
        Ok(Self {
            engine: engine.clone(),
            stop: stop.clone(),
            drifts: tokio::sync::Mutex::new(drifts),
            is_careful: Watch::of(engine, "drift").await?.is_careful(),
            work: Mutex::new(Work {
                waiting: progress.open.clone(),
                taken: vec![None; readers],
                stored_at: StoredAt::new(now),
                progress,
            }),
            moved: Notify::new(),
        })
    }

    /// Reads all that is left. Each reader is a task, so that several pages are parsed at the same time.
    ///
    /// # Errors
    /// Anything that leaves a slice unread; what was closed stays so.
    pub(super) async fn run(self: &Arc<Self>) -> anyhow::Result<()> {
        let count = self.work().taken.len();
        if count == 1 {
            return self.read(0).await;
        }
        let mut readers = JoinSet::new();
        for reader in 0..count {
            let reading = Arc::clone(self);
            readers.spawn(async move { reading.read(reader).await }.in_current_span());
        }
        let mut read = Ok(());
        while let Some(ended) = readers.join_next().await {
            read = ended.context("a reader has failed").flatten();
            if read.is_err() {
                break;
            }
        }
        // Nobody reads on behind the back of whoever is told.
        readers.shutdown().await;
        read
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Progress {
        self.work().so_far()
    }

    async fn read(&self, reader: usize) -> anyhow::Result<()> {
        while let Some(slice) = self.take(reader).await {
            self.read_slice(reader, slice).await?;
        }
        Ok(())
    }

    /// Waits for a slice; `None` once no more will come.
    async fn take(&self, reader: usize) -> Option<Slice> {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            {
                let mut work = self.work();
                work.taken[reader] = work.waiting.pop();
                if work.taken[reader].is_some() {
                    return work.taken[reader];
                }
                if work.taken.iter().all(Option::is_none) {
                    self.moved.notify_waiters();
                    return None;
                }
            }
            moved.await;
        }
    }

    async fn read_slice(&self, reader: usize, slice: Slice) -> anyhow::Result<()> {
        let mut walk = Walk::of(slice);
        let mut shown = Shown::default();
        let read = self.read_parts(reader, &mut walk, &mut shown).await;
        if read.is_err() && !self.stop.is_cancelled() {
            // What was seen is not lost for what was not.
            let seen = (&shown, walk.open(), Glance::Other);
            if let Err(error) = self.bring_home(seen, &mut Counts::default()).await {
                tracing::debug!(%error, "bringing home what an unfinished part has shown");
            }
        }
        read
    }

    async fn read_parts(
        &self,
        reader: usize,
        walk: &mut Walk,
        shown: &mut Shown,
    ) -> anyhow::Result<()> {
        let mut counts = Counts::default();
        let mut read_at = self.engine.moment(&self.engine.db).await?;
        let mut asked_at = Instant::now();
        while !walk.is_at_end() {
            if self.stop.is_cancelled() {
                bail!("stopped before the pass was complete");
            }
            let Outlined { page, source } = self.page(walk).await?;
            counts.pages += 1;
            let fresh = walk.take(page)?;
            for outline in fresh.iter().filter(|outline| !outline.is_readable) {
                tracing::warn!(stripe.id = %outline.stripe_id, "a customer in Stripe cannot be read; the pass goes on");
                metrics::counter!("stripe_unreadable_customers_total").increment(1);
            }
            self.engine.gauge.add_page(fresh.len() as u64);
            shown.add(&fresh, source, read_at);
            self.give(reader, walk);
            if let Some(closed) = walk.close() {
                let open = (!walk.is_at_end()).then(|| walk.open());
                let counts = std::mem::take(&mut counts);
                self.close((reader, open), &closed, shown, (counts, read_at.at))
                    .await?;
            } else if shown.is_full() {
                let seen = (&*shown, walk.open(), Glance::Other);
                self.bring_home(seen, &mut counts).await?;
                *shown = Shown::default();
            } else {
                continue;
            }
            // A time that is too early is safe; only where reading is fast, many parts share one.
            if asked_at.elapsed() >= SHARED_FOR {
                read_at = self.engine.moment(&self.engine.db).await?;
                asked_at = Instant::now();
            }
        }
        Ok(())
    }

    async fn page(&self, walk: &mut Walk) -> anyhow::Result<Outlined> {
        loop {
            self.engine.steps.reach("pass: page").await;
            let request = walk.request();
            let reply = self.engine.stripe.outline(Lane::Downsync, &request).await;
            self.engine.steps.reach("pass: read").await;
            match reply {
                Ok(reply) => return Ok(reply.value),
                Err(failure) if has_lost_cursor(&failure) && walk.lose_cursor() => {}
                Err(failure) => {
                    return Err(failure).context("reading a page of Stripe's customers");
                }
            }
        }
    }

    /// What is new about the customers of a part goes where it is taken in.
    async fn bring_home(
        &self,
        (shown, part, glance): (&Shown, Slice, Glance),
        counts: &mut Counts,
    ) -> anyhow::Result<()> {
        for some in shown.made_in(part) {
            let Compared {
                mut drifts,
                strangers,
            } = match glance {
                Glance::AllNew => all_new(some),
                Glance::Same | Glance::Other => compare(&self.engine, some).await?,
            };
            let (imported, others) = if self.is_careful {
                (0, strangers)
            } else {
                newcomers::import(&self.engine, strangers).await?
            };
            drifts.extend(others);
            counts.imported += imported;
            counts.drifts += imported + drifts.len() as u64;
            if let Some(Drift { read_at, .. }) = drifts.last() {
                let now = read_at.at;
                self.drifts.lock().await.send(&drifts, now).await?;
            }
        }
        Ok(())
    }

    /// Gives half of what is left to somebody who has nothing.
    fn give(&self, reader: usize, walk: &mut Walk) {
        let mut work = self.work();
        let is_wanted = work.waiting.is_empty() && work.taken.contains(&None);
        if let Some(older) = is_wanted.then(|| walk.split()).flatten() {
            work.waiting.push(older);
            work.progress.counts.slices += 1;
            work.taken[reader] = Some(walk.open());
            self.engine.gauge.set_slices(work.slices());
            self.moved.notify_waiters();
        }
    }

    /// Brings home what a part shows and was not agreed on, and writes down who was missing from it, and that it needs
    /// not be read again.
    async fn close(
        &self,
        (reader, open): (usize, Option<Slice>),
        closed: &Closed,
        shown: &mut Shown,
        (mut counts, read_at): (Counts, DateTime<Utc>),
    ) -> anyhow::Result<()> {
        let part = closed.part;
        let glance = glance(&self.engine, part, shown.fingerprints(part)).await?;
        if glance != Glance::Same {
            self.bring_home((&*shown, part, glance), &mut counts)
                .await?;
        }
        let missing = match glance {
            Glance::Same | Glance::AllNew => Vec::new(),
            Glance::Other => missing(&self.engine, closed).await?,
        };
        shown.forget_from(part);
        let to_store = {
            let mut work = self.work();
            work.progress.add_absent(missing);
            work.progress.counts.add(&counts);
            work.progress.counts.customers += closed.seen.len() as u64;
            work.taken[reader] = open;
            self.engine.gauge.set_slices(work.slices());
            work.stored_at.is_due(read_at).then(|| work.so_far())
        };
        if let Some(progress) = to_store {
            progress.store(&self.engine, read_at).await?;
        }
        Ok(())
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // No panic can leave it half changed.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// That are not closed.
    fn slices(&self) -> usize {
        self.taken.iter().flatten().count() + self.waiting.len()
    }

    fn so_far(&self) -> Progress {
        let mut progress = self.progress.clone();
        progress.open = self.waiting.clone();
        progress.open.extend(self.taken.iter().flatten());
        progress
    }
}

/// Whether the customer that the page was to start after is not there any more.
fn has_lost_cursor(failure: &Failure) -> bool {
    failure.code.as_deref() == Some("resource_missing")
        && !failure.is_of_other_mode()
        && failure.param.as_deref() == Some("starting_after")
}
