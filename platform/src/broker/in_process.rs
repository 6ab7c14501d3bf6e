//! The broker inside the process. It keeps nothing on disk, so a message counts as published only
//! when its consumer has settled it: whatever happens in between, the publisher still has it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{Delivery, Error, Message, Outcome, Route, Topology};

/// Messages waiting in one queue; the next one waits outside.
const CAPACITY: usize = 1024;
/// How long a publisher waits for its consumer: as long as RabbitMQ's does for its confirm.
const PATIENCE: Duration = Duration::from_secs(30);
/// Dead letters kept per queue, and messages whose attempts are counted: the oldest give way.
const KEPT: usize = 1024;

/// Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    queues: Queues,
}

type Queues = Arc<HashMap<&'static str, Arc<Queue>>>;

struct Queue {
    name: &'static str,
    /// The routing keys of the events that it receives.
    events: &'static [&'static str],
    waiting: Mutex<VecDeque<Waiting>>,
    room: Arc<Semaphore>,
    arrived: Notify,
    dead: Mutex<VecDeque<Message>>,
    attempts: Mutex<Attempts>,
}

struct Waiting {
    message: Message,
    /// Closed as soon as the publisher has given up.
    settled: oneshot::Sender<()>,
    _room: OwnedSemaphorePermit,
}

pub struct Publisher {
    queues: Queues,
    /// Never locked: its futures are not `Sync`, and a publisher is.
    in_flight: tokio::sync::Mutex<VecDeque<InFlight>>,
}

/// When its publisher gives a message up, and what becomes of it until then.
type InFlight = (Instant, BoxFuture<'static, Outcome>);

pub struct Consumer {
    queue: Arc<Queue>,
    prefetch: Arc<Semaphore>,
    unsettled: Arc<Unsettled>,
    next_tag: u64,
}

/// The deliveries that a consumer has given out; `None` once it is gone.
struct Unsettled(Mutex<Option<HashMap<u64, Held>>>);

/// How to tell the publisher, and the consumer's place for one more.
type Held = (oneshot::Sender<()>, OwnedSemaphorePermit);

pub(super) struct Receipt {
    tag: u64,
    id: String,
    queue: Arc<Queue>,
    unsettled: Arc<Unsettled>,
}

impl Broker {
    pub fn new(topology: &Topology) -> Self {
        let queues = topology
            .queues
            .iter()
            .map(|&(name, events)| (name, Arc::new(Queue::new(name, events))));
        Self {
            queues: Arc::new(queues.collect()),
        }
    }

    /// The dead letters of `queue`, oldest first: the last 1024 since the process started.
    pub fn dead_letters(&self, queue: &str) -> Vec<Message> {
        let queue = self.queues.get(queue);
        queue
            .map(|queue| lock(&queue.dead).iter().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn publisher(&self) -> Publisher {
        Publisher {
            queues: Arc::clone(&self.queues),
            in_flight: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn depth(&self, queue: &'static str) -> Result<u64, Error> {
        let waiting = lock(&self.queue(queue)?.waiting).len();
        Ok(u64::try_from(waiting).unwrap_or(u64::MAX))
    }

    fn queue(&self, name: &'static str) -> Result<&Arc<Queue>, Error> {
        self.queues.get(name).ok_or_else(|| Error::Topology {
            what: format!("the queue {name} is not in this broker's topology"),
        })
    }

    pub(super) fn consumer(&self, queue: &'static str, prefetch: u16) -> Result<Consumer, Error> {
        Ok(Consumer {
            queue: Arc::clone(self.queue(queue)?),
            prefetch: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))),
            unsettled: Arc::new(Unsettled(Mutex::new(Some(HashMap::new())))),
            next_tag: 0,
        })
    }
}

impl Queue {
    fn new(name: &'static str, events: &'static [&'static str]) -> Self {
        Self {
            name,
            events,
            waiting: Mutex::default(),
            room: Arc::new(Semaphore::new(CAPACITY)),
            arrived: Notify::new(),
            dead: Mutex::default(),
            attempts: Mutex::default(),
        }
    }

    /// Puts a message into the queue as soon as there is room, and resolves when it is settled.
    async fn put(self: Arc<Self>, message: Message) -> Outcome {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
            return Outcome::Unknown;
        };
        let (settled, answer) = oneshot::channel();
        lock(&self.waiting).push_back(Waiting {
            message,
            settled,
            _room: room,
        });
        self.arrived.notify_one();
        match answer.await {
            Ok(()) => Outcome::Confirmed,
            Err(_) => Outcome::Unknown,
        }
    }

    /// The first message that its publisher still waits for.
    fn take(&self) -> Option<Waiting> {
        let mut waiting = lock(&self.waiting);
        while let Some(first) = waiting.pop_front() {
            if !first.settled.is_closed() {
                return Some(first);
            }
        }
        None
    }
}

impl Publisher {
    pub(super) fn send(&mut self, route: Route, message: Message) {
        let mut outcome = match route {
            // This broker serves one process, so there are no other applications.
            Route::ForeignEvent(_) => ready(Outcome::Confirmed).boxed(),
            Route::Queue(name) => to_each(self.queues.get(name).into_iter(), message),
            Route::Event(key) => {
                let bound = self.queues.values();
                to_each(bound.filter(|queue| queue.events.contains(&key)), message)
            }
        };
        // The first poll puts the message into the queue, or in line for it: polled in this order,
        // they stand there in this order.
        if let Some(known) = (&mut outcome).now_or_never() {
            outcome = ready(known).boxed();
        }
        let in_flight = self.in_flight.get_mut();
        in_flight.push_back((Instant::now() + PATIENCE, outcome));
    }

    pub(super) async fn outcomes(&mut self) -> Vec<Outcome> {
        let mut known = Vec::new();
        let in_flight = self.in_flight.get_mut();
        let Some((give_up_at, oldest)) = in_flight.front_mut() else {
            return known;
        };
        let outcome = timeout_at(*give_up_at, oldest).await;
        known.push(outcome.unwrap_or(Outcome::Unknown));
        in_flight.pop_front();
        while let Some((_, next)) = in_flight.front_mut() {
            let Some(outcome) = next.now_or_never() else {
                break;
            };
            known.push(outcome);
            in_flight.pop_front();
        }
        known
    }
}

/// What becomes of a message for some queues: it is published when each of them has settled it.
fn to_each<'a>(
    queues: impl Iterator<Item = &'a Arc<Queue>>,
    message: Message,
) -> BoxFuture<'static, Outcome> {
    let put = queues.map(|queue| Arc::clone(queue).put(message.clone()));
    let put: Vec<_> = put.collect();
    if put.is_empty() {
        return ready(Outcome::Unroutable).boxed();
    }
    let all = join_all(put).map(|outcomes| {
        let failed = outcomes
            .into_iter()
            .find(|outcome| *outcome != Outcome::Confirmed);
        failed.unwrap_or(Outcome::Confirmed)
    });
    all.boxed()
}

impl Consumer {
    pub(super) async fn next(&mut self) -> Result<Delivery, Error> {
        let permit = Arc::clone(&self.prefetch).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let waiting = loop {
            match self.queue.take() {
                Some(waiting) => break waiting,
                None => self.queue.arrived.notified().await,
            }
        };
        let Waiting {
            message,
            settled,
            _room,
        } = waiting;
        let attempt = lock(&self.queue.attempts).count(&message.id);
        self.next_tag += 1;
        let receipt = Receipt {
            tag: self.next_tag,
            id: message.id.clone(),
            queue: Arc::clone(&self.queue),
            unsettled: Arc::clone(&self.unsettled),
        };
        if let Some(unsettled) = lock(&self.unsettled.0).as_mut() {
            unsettled.insert(self.next_tag, (settled, permit));
        }
        Ok(Delivery {
            message,
            attempt,
            receipt: super::Receipt::InProcess(receipt),
        })
    }
}

/// The publishers of what it had in hand learn that nobody settled it.
impl Drop for Consumer {
    fn drop(&mut self) {
        lock(&self.unsettled.0).take();
        // A wake-up that was meant for this consumer is for the next one.
        self.queue.arrived.notify_one();
    }
}

impl Unsettled {
    fn take(&self, tag: u64) -> Option<Held> {
        lock(&self.0).as_mut()?.remove(&tag)
    }
}

impl Receipt {
    pub(super) fn ack(self) -> Result<(), Error> {
        let (settled, _permit) = self.unsettled.take(self.tag).ok_or(Error::Closed)?;
        lock(&self.queue.attempts).forget(&self.id);
        // A publisher that gave up meanwhile publishes it again: that is what at-least-once means.
        let _ = settled.send(());
        Ok(())
    }

    pub(super) fn dead_letter(self, message: Message) -> Result<(), Error> {
        tracing::debug!(
            queue = self.queue.name,
            message.id = message.id,
            "kept as a dead letter"
        );
        let queue = Arc::clone(&self.queue);
        self.ack()?;
        let mut dead = lock(&queue.dead);
        if dead.len() == KEPT {
            dead.pop_front();
        }
        dead.push_back(message);
        Ok(())
    }
}

/// Dropping the sender tells the publisher.
impl Drop for Receipt {
    fn drop(&mut self) {
        drop(self.unsettled.take(self.tag));
    }
}

/// How often the messages that nobody settled yet were delivered.
#[derive(Default)]
struct Attempts {
    /// By id: how often, and where it stands in `order`.
    counts: HashMap<String, (u32, u64)>,
    /// The ids in order of their first delivery.
    order: BTreeMap<u64, String>,
    next: u64,
}

impl Attempts {
    fn count(&mut self, id: &str) -> u32 {
        if let Some((count, _)) = self.counts.get_mut(id) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.order.len() == KEPT
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.counts.remove(&oldest);
        }
        self.order.insert(self.next, id.to_owned());
        self.counts.insert(id.to_owned(), (1, self.next));
        self.next += 1;
        1
    }

    fn forget(&mut self, id: &str) {
        if let Some((_, place)) = self.counts.remove(id) {
            self.order.remove(&place);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_outlive_any_number_of_settled_messages_and_are_bounded() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.count("poison"), 1);
        for id in 0..2 * KEPT {
            attempts.count(&id.to_string());
            attempts.forget(&id.to_string());
        }
        assert_eq!(attempts.count("poison"), 2);
        for id in 0..KEPT {
            attempts.count(&id.to_string());
        }
        assert_eq!((attempts.counts.len(), attempts.order.len()), (KEPT, KEPT));
        assert_eq!(attempts.count("poison"), 1, "it was the oldest");
        attempts.forget("poison");
        attempts.forget("poison");
        assert_eq!(
            (attempts.counts.len(), attempts.order.len()),
            (KEPT - 1, KEPT - 1)
        );
    }
}
