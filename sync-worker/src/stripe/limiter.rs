//! How fast Stripe is asked: one token bucket for every clone of the client, with two lanes.
//!
//! A user's edit goes before the backfill: whoever waits in [`Lane::Upsync`] is served first, except
//! that a waiting [`Lane::Downsync`] gets every tenth turn, so that edits made in Stripe still arrive
//! while more is written than the rate allows. Within a lane the first to come is the first served.
//! Dropping a waiter gives its place to the next one and costs no token.
//!
//! What Stripe refuses as too much is answered by halving what it says there was too much of, requests a second
//! or requests at a time, which then is won back step by step.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use bucket::{Bucket, Turn};

pub(super) use bucket::TooMuch;

mod bucket;

/// Who asks, and so who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What users changed, on its way to Stripe.
    Upsync,
    /// Everything that is read to find what changed in Stripe.
    Downsync,
}

impl Lane {
    fn other(self) -> Self {
        match self {
            Self::Upsync => Self::Downsync,
            Self::Downsync => Self::Upsync,
        }
    }
}

/// A cheap clone of one shared bucket.
#[derive(Clone)]
pub(super) struct Limiter(Arc<Shared>);

struct Shared {
    bucket: Mutex<Bucket>,
    upsync: Queue,
    downsync: Queue,
}

#[derive(Default)]
struct Queue {
    /// Everyone who waits, the first one included.
    waiting: AtomicUsize,
    /// Held by the first one. Tokio's mutex is fair, which makes it the queue.
    first: tokio::sync::Mutex<()>,
    /// Tells the first one that the other lane has served someone, or lost one, or that a request has ended.
    moved: Notify,
}

impl Limiter {
    /// Lets `rate` requests a second through, and up to `burst` at once after a pause.
    pub(super) fn new(rate: f64, burst: u32) -> Self {
        Self(Arc::new(Shared {
            bucket: Mutex::new(Bucket::new(rate, burst, Instant::now())),
            upsync: Queue::default(),
            downsync: Queue::default(),
        }))
    }

    /// Waits for a turn. Safe to drop at any time. The request is under way until the permit is dropped.
    pub(super) async fn turn(&self, lane: Lane) -> Permit {
        let _waiting = Waiting::enter(&self.0, lane);
        let queue = self.0.queue(lane);
        let _first = queue.first.lock().await;
        loop {
            let other_waits = self.0.queue(lane.other()).is_waited_in();
            let turn = self.0.bucket().turn(lane, other_waits, Instant::now());
            match turn {
                Turn::Now => return Permit(Arc::clone(&self.0)),
                Turn::At(instant) => sleep_until(instant).await,
                Turn::Full | Turn::Others => queue.moved.notified().await,
            }
        }
    }

    /// Stripe said that it was asked too much: halves that, and lets nothing through before `retry_after`.
    pub(super) fn slow_down(&self, too_much: TooMuch, retry_after: Option<Duration>) {
        self.0
            .bucket()
            .slow_down(too_much, retry_after, Instant::now());
    }

    /// Requests a second that are let through now.
    pub(super) fn rate(&self) -> f64 {
        self.0.bucket().rate_now(Instant::now())
    }

    /// Divides the rate between `workers` processes that use the same account.
    pub(super) fn set_share(&self, workers: u32) {
        self.0.bucket().set_share(workers, Instant::now());
    }
}

/// One request under way.
pub(super) struct Permit(Arc<Shared>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.bucket().end();
        self.0.upsync.moved.notify_one();
        self.0.downsync.moved.notify_one();
    }
}

impl Shared {
    fn queue(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Upsync => &self.upsync,
            Lane::Downsync => &self.downsync,
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        // No panic can leave the bucket half changed: it holds numbers only.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_waited_in(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// A place in a lane, given up when it is dropped: served or not, the other lane must look again.
struct Waiting<'a> {
    shared: &'a Shared,
    lane: Lane,
}

impl<'a> Waiting<'a> {
    fn enter(shared: &'a Shared, lane: Lane) -> Self {
        shared.queue(lane).waiting.fetch_add(1, Ordering::SeqCst);
        Self { shared, lane }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let queue = self.shared.queue(self.lane);
        queue.waiting.fetch_sub(1, Ordering::SeqCst);
        // A permit is kept if nobody listens yet, so a look that began before this is repeated.
        self.shared.queue(self.lane.other()).moved.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use tokio::task::JoinSet;

    /// The order in which `lanes`, which all began to wait in this order, were served.
    async fn served(limiter: &Limiter, lanes: &[Lane]) -> Vec<usize> {
        let mut waiters = JoinSet::new();
        for (place, lane) in lanes.iter().copied().enumerate() {
            let limiter = limiter.clone();
            waiters.spawn(async move {
                limiter.turn(lane).await;
                (Instant::now(), place)
            });
            tokio::task::yield_now().await;
        }
        let mut turns = waiters.join_all().await;
        turns.sort();
        turns.into_iter().map(|(_, place)| place).collect()
    }

    async fn seconds<T>(work: impl Future<Output = T>) -> f64 {
        let started = Instant::now();
        work.await;
        started.elapsed().as_secs_f64()
    }

    async fn turns(limiter: &Limiter, count: usize) {
        for _ in 0..count {
            limiter.turn(Lane::Upsync).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let limiter = Limiter::new(10.0, 5);
        assert!(seconds(turns(&limiter, 5)).await < 0.001);
        let took = seconds(turns(&limiter, 20)).await;
        assert!((1.99..2.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn clones_share_one_rate() {
        let limiter = Limiter::new(10.0, 1);
        let took = seconds(served(&limiter, &[Lane::Upsync; 21])).await;
        assert!((1.99..2.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_serves_in_the_order_of_arrival() {
        let limiter = Limiter::new(10.0, 1);
        let order = served(&limiter, &[Lane::Downsync; 12]).await;
        assert_eq!(order, (0..12).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn user_edits_go_before_a_backfill_that_came_first() {
        let limiter = Limiter::new(10.0, 1);
        turns(&limiter, 1).await;
        let mut lanes = [Lane::Downsync; 10];
        lanes[5..].fill(Lane::Upsync);
        let order = served(&limiter, &lanes).await;
        assert_eq!(order, [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backfill_is_never_starved() {
        let limiter = Limiter::new(10.0, 1);
        turns(&limiter, 1).await;
        let mut lanes = [Lane::Upsync; 41];
        lanes[0] = Lane::Downsync;
        lanes[1] = Lane::Downsync;
        let order = served(&limiter, &lanes).await;
        let place_of = |waiter| order.iter().position(|w| *w == waiter).unwrap();
        assert_eq!((place_of(0), place_of(1)), (9, 19));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_goes_away_takes_no_token_and_blocks_nobody() {
        let limiter = Limiter::new(1.0, 1);
        turns(&limiter, 1).await;
        for lane in [Lane::Upsync, Lane::Downsync] {
            let gone = tokio::time::timeout(Duration::from_millis(300), limiter.turn(lane)).await;
            assert!(gone.is_err());
        }
        let took = seconds(limiter.turn(Lane::Downsync)).await;
        assert!((0.39..0.5).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_backfill_goes_on_when_the_edit_before_it_goes_away() {
        let limiter = Limiter::new(1.0, 1);
        turns(&limiter, 1).await;
        let mut backfill = pin!(limiter.turn(Lane::Downsync));
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut edit = pin!(limiter.turn(Lane::Upsync));
            assert!(edit.as_mut().poll(&mut context).is_pending());
            assert!(backfill.as_mut().poll(&mut context).is_pending());
        }
        assert!(seconds(backfill).await < 1.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_pauses_everyone_who_waits() {
        let limiter = Limiter::new(100.0, 10);
        limiter.slow_down(TooMuch::Often, Some(Duration::from_secs(3)));
        let took = seconds(limiter.turn(Lane::Upsync)).await;
        assert!((2.99..3.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_at_once_are_halved_and_the_next_one_goes_when_one_ends() {
        let limiter = Limiter::new(1_000.0, 100);
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(limiter.turn(Lane::Upsync).await);
        }
        limiter.slow_down(TooMuch::AtOnce, None);
        let limit = Duration::from_millis(100);
        for _ in 0..2 {
            let blocked = tokio::time::timeout(limit, limiter.turn(Lane::Downsync)).await;
            assert!(blocked.is_err(), "only two may be under way");
            permits.pop();
        }
        let next = async {
            let next = tokio::time::timeout(limit, limiter.turn(Lane::Downsync)).await;
            assert!(next.is_err());
            tokio::time::timeout(limit, limiter.turn(Lane::Downsync)).await
        };
        let end = async {
            tokio::time::sleep(limit + limit / 2).await;
            permits.pop();
        };
        let (next, ()) = tokio::join!(next, end);
        assert!(next.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn two_workers_have_half_the_rate_each() {
        let limiter = Limiter::new(10.0, 1);
        limiter.set_share(2);
        let took = seconds(turns(&limiter, 11)).await;
        assert!((1.99..2.1).contains(&took), "{took}");
    }
}
