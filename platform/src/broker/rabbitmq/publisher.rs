//! Sends messages one behind the other, and reports their outcomes as the confirms arrive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use tokio::time::{Instant, timeout_at};

use super::super::{Message, Outcome, Route};
use super::confirm::Window;
use super::connection::Connection;
use super::{Broker, Error, envelope, topology};

/// The last connection that the broker blocked, if it has not been freed since.
pub(super) type Blocked = Arc<Mutex<Option<Connection>>>;

pub struct Publisher {
    channel: Channel,
    /// Of foreign queues, and of ours.
    exchanges: [ShortString; 2],
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    blocked: Blocked,
    window: Window,
    /// Never locked: its futures are not `Sync`, and a publisher is.
    pending: tokio::sync::Mutex<FuturesUnordered<BoxFuture<'static, Confirmed>>>,
    /// Some outcome is unknown, so no later one proves anything.
    is_broken: bool,
}

/// The number of a message in the window, and what came back for it.
type Confirmed = (u64, lapin::Result<Confirmation>);

/// A new connection would be let in and blocked at its first message, and what it had sent would
/// wait in the broker's buffers: one more copy of the batch at every attempt. So the blocked
/// connection is kept, to say when the broker takes messages again.
pub(super) fn ensure_free(blocked: &Blocked) -> Result<(), Error> {
    let mut blocked = blocked.lock().unwrap_or_else(PoisonError::into_inner);
    if blocked.as_ref().is_some_and(Connection::is_blocked) {
        let source = "the broker takes no messages: it is short of memory or disk".into();
        return Err(Error::Away {
            doing: "opening a publisher",
            source,
        });
    }
    *blocked = None;
    Ok(())
}

impl Publisher {
    pub(super) async fn open(
        connection: Connection,
        channel: Channel,
        broker: &Broker,
    ) -> Result<Self, Error> {
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        connection.step("asking for confirms", confirms).await?;
        let exchange = broker.topology.exchange;
        Ok(Self {
            channel,
            exchanges: [exchange.into(), topology::internal(exchange).into()],
            connection: Some(connection),
            blocked: Arc::clone(&broker.blocked),
            window: Window::default(),
            pending: tokio::sync::Mutex::default(),
            is_broken: false,
        })
    }

    pub(in crate::broker) fn is_connected(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(Connection::is_connected)
    }

    pub(in crate::broker) fn is_blocked(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_blocked)
    }

    pub(in crate::broker) fn send(&mut self, route: Route, message: Message) {
        let limit = self
            .connection
            .as_ref()
            .map(|connection| connection.timeouts.confirm);
        let give_up_at = Instant::now() + limit.unwrap_or_default();
        let id = envelope::message_id(&message);
        let number = self.window.push(id, give_up_at);
        // Sent now, it would overtake those whose outcome is unknown.
        if self.is_broken {
            return;
        }
        let mut confirm = self.publish((number, route), message);
        // The first poll hands the message to the connection: polled in this order, they are sent in
        // this order.
        match (&mut confirm).now_or_never() {
            Some((number, known)) => self.window.complete(number, known.ok()),
            None => self.pending.get_mut().push(confirm),
        }
    }

    fn publish(
        &self,
        (number, route): (u64, Route),
        message: Message,
    ) -> BoxFuture<'static, Confirmed> {
        let [public, internal] = &self.exchanges;
        let (exchange, key, mandatory) = match route {
            Route::Queue(key) | Route::Event(key) => (internal, key, true),
            // Other applications may have bound no queue.
            Route::ForeignEvent(key) => (public, key, false),
        };
        let (channel, exchange) = (self.channel.clone(), exchange.clone());
        let publish = async move {
            let options = BasicPublishOptions {
                mandatory,
                ..BasicPublishOptions::default()
            };
            let body = envelope::write(&message);
            let properties = envelope::properties(&message);
            let sent = channel.basic_publish(exchange, key.into(), options, &body, properties);
            sent.await?.await
        };
        publish.map(move |confirm| (number, confirm)).boxed()
    }

    pub(in crate::broker) async fn outcomes(&mut self) -> Vec<Outcome> {
        loop {
            if self.is_broken {
                self.pending.get_mut().clear();
                return self.window.give_up();
            }
            let known = self.window.known();
            self.is_broken = known.contains(&Outcome::Unknown);
            let Some(give_up_at) = self.window.give_up_at() else {
                return known;
            };
            if !known.is_empty() {
                return known;
            }
            match timeout_at(give_up_at, self.pending.get_mut().next()).await {
                Ok(Some((number, confirm))) => self.window.complete(number, confirm.ok()),
                Ok(None) | Err(_) => self.is_broken = true,
            }
            self.read_complete();
        }
    }

    /// Reads every confirm that is complete: a return may hang on any of them.
    fn read_complete(&mut self) {
        let has_more = Arc::new(HasMore(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&has_more));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.pending.get_mut().poll_next_unpin(&mut context) {
                Poll::Ready(Some((number, confirm))) => self.window.complete(number, confirm.ok()),
                Poll::Ready(None) => return,
                // It is also pending when it only ends its turn; then it has woken us.
                Poll::Pending if has_more.0.swap(false, Ordering::SeqCst) => {}
                Poll::Pending => return,
            }
        }
    }
}

struct HasMore(AtomicBool);

impl Wake for HasMore {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Keeps a blocked connection, so that the next publisher knows.
impl Drop for Publisher {
    fn drop(&mut self) {
        if self.is_blocked() {
            *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = self.connection.take();
        }
    }
}
