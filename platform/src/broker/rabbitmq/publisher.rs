//! Publishes a batch: all of it is sent, then all of it is waited for, for a bounded time.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::future::FutureExt;
use futures_util::poll;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};

use super::super::{Message, Outcome};
use super::connection::Connection;
use super::{Broker, Error, confirm, headers};

/// The last connection that the broker blocked, if it has not been freed since.
pub(super) type Blocked = Arc<Mutex<Option<Connection>>>;

pub struct Publisher {
    channel: Channel,
    exchange: &'static str,
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    blocked: Blocked,
    broken: bool,
}

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
        Ok(Self {
            channel,
            exchange: broker.topology.exchange,
            connection: Some(connection),
            blocked: Arc::clone(&broker.blocked),
            broken: false,
        })
    }

    pub(in crate::broker) fn is_blocked(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_blocked)
    }

    pub(in crate::broker) async fn publish(
        &mut self,
        queue: &str,
        batch: Vec<Message>,
    ) -> Vec<Outcome> {
        if self.broken {
            return vec![Outcome::Unknown; batch.len()];
        }
        if self.is_blocked() {
            return vec![Outcome::Refused; batch.len()];
        }
        // Until it is through: a publish that is cancelled leaves confirms on their way as well.
        self.broken = true;
        let confirms = self.confirms(queue, &batch).await;
        let outcomes = confirm::outcomes(&batch, confirms);
        self.broken = outcomes.contains(&Outcome::Unknown);
        outcomes
    }

    /// What came back for each message before the time was up.
    async fn confirms(&self, queue: &str, batch: &[Message]) -> Vec<Option<Confirmation>> {
        let limit = self
            .connection
            .as_ref()
            .map(|connection| connection.timeouts.confirm);
        let deadline = tokio::time::Instant::now() + limit.unwrap_or_default();
        let mut confirms: Vec<Option<Confirmation>> = batch.iter().map(|_| None).collect();
        let mut pending = FuturesUnordered::new();
        for (index, message) in batch.iter().enumerate() {
            let mut sending = Box::pin(self.send(queue, message));
            // The first poll hands the message to the connection: polled in this order, they are
            // sent in this order.
            match poll!(&mut sending) {
                Poll::Ready(confirm) => confirms[index] = confirm.ok(),
                Poll::Pending => pending.push(sending.map(move |confirm| (index, confirm))),
            }
        }
        while let Ok(Some((index, confirm))) =
            tokio::time::timeout_at(deadline, pending.next()).await
        {
            confirms[index] = confirm.ok();
        }
        // What has arrived but not been looked at: a return may hang on it.
        while let Some(Some((index, confirm))) = pending.next().now_or_never() {
            confirms[index] = confirm.ok();
        }
        confirms
    }

    async fn send(&self, queue: &str, message: &Message) -> lapin::Result<Confirmation> {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let publishing = self.channel.basic_publish(
            self.exchange.into(),
            queue.into(),
            mandatory,
            &message.body,
            headers::write(message),
        );
        publishing.await?.await
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
