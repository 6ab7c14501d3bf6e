//! Reads Stripe's customers, several slices side by side. Whoever has nothing to read takes the older half of a
//! slice that has shown itself to be large.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::message::{Drift, StripeCopy};
use futures_util::future::try_join_all;
use sea_orm::DbErr;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Counts;
use super::compare::{Compared, compare, missing};
use super::newcomers;
use super::progress::{Progress, StoredAt};
use super::slice::Slice;
use super::walk::{Closed, Walk};
use crate::downsync::publish::Drifts;
use crate::engine::Engine;
use crate::poison::Watch;
use crate::stripe::{Failure, Lane, Page};

/// A pass under way.
pub(super) struct Reading<'a> {
    engine: &'a Engine,
    stop: &'a CancellationToken,
    drifts: tokio::sync::Mutex<&'a mut Drifts>,
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

impl<'a> Reading<'a> {
    pub(super) async fn new(
        engine: &'a Engine,
        (drifts, stop): (&'a mut Drifts, &'a CancellationToken),
        progress: Progress,
        now: DateTime<Utc>,
    ) -> Result<Self, DbErr> {
        let readers = engine.policy.slices_at_once.max(1);
        Ok(Self {
            engine,
            stop,
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

    /// Reads all that is left.
    ///
    /// # Errors
    /// Anything that leaves a slice unread; what was closed stays so.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let readers = self.work().taken.len();
        let readers = (0..readers).map(|reader| Box::pin(self.read(reader)));
        try_join_all(readers).await?;
        Ok(())
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
        let mut counts = Counts::default();
        while !walk.is_at_end() {
            if self.stop.is_cancelled() {
                bail!("stopped before the pass was complete");
            }
            let read_at = self.engine.now(&self.engine.db).await?;
            let page = self.page(&mut walk).await?;
            counts.pages += 1;
            let fresh = walk.take(page)?;
            self.engine.gauge.add_page(fresh.len() as u64);
            self.bring_home(fresh, read_at, &mut counts).await?;
            self.give(reader, &mut walk);
            if let Some(closed) = walk.close() {
                let open = (!walk.is_at_end()).then(|| walk.open());
                let counts = std::mem::take(&mut counts);
                self.close((reader, open), &closed, counts, read_at).await?;
            }
        }
        Ok(())
    }

    async fn page(&self, walk: &mut Walk) -> anyhow::Result<Page<StripeCopy>> {
        loop {
            self.engine.steps.reach("pass: page").await;
            let request = walk.request();
            let reply = self.engine.stripe.list(Lane::Downsync, &request).await;
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

    /// What is new about the customers of a page goes where it is taken in.
    async fn bring_home(
        &self,
        fresh: Vec<StripeCopy>,
        read_at: DateTime<Utc>,
        counts: &mut Counts,
    ) -> anyhow::Result<()> {
        let compared = compare(self.engine, fresh, read_at).await?;
        let Compared {
            mut drifts,
            strangers,
        } = compared;
        let (imported, others) = if self.is_careful {
            (0, strangers)
        } else {
            newcomers::import(self.engine, strangers, read_at).await?
        };
        drifts.extend(others.into_iter().map(|copy| Drift { copy, read_at }));
        counts.imported += imported;
        counts.drifts += imported + drifts.len() as u64;
        if !drifts.is_empty() {
            self.drifts.lock().await.send(&drifts, read_at).await?;
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

    /// Writes down who was missing from a part, and that it needs not be read again.
    async fn close(
        &self,
        (reader, open): (usize, Option<Slice>),
        closed: &Closed,
        counts: Counts,
        read_at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let missing = missing(self.engine, closed).await?;
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
            progress.store(self.engine, read_at).await?;
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
        && failure.param.as_deref() == Some("starting_after")
}
