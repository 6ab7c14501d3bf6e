//! Consumes one queue: each message is acked on its own, because a cumulative ack would settle what
//! is still being worked on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel};

use super::super::Delivery;
use super::connection::{Connection, away};
use super::{Error, Timeouts, envelope, refusal};

pub struct Consumer {
    deliveries: lapin::Consumer,
    /// Closed with the consumer, which hands the unsettled deliveries back.
    connection: Connection,
    ended: Arc<AtomicBool>,
}

pub(in crate::broker) struct Receipt {
    acker: Acker,
    /// Whether the consumer is gone. lapin would still send for a moment what the broker may or may
    /// not see.
    ended: Arc<AtomicBool>,
    timeouts: Timeouts,
}

impl Consumer {
    pub(super) async fn open(
        connection: Connection,
        channel: Channel,
        queue: &str,
        prefetch: u16,
    ) -> Result<Self, Error> {
        // Zero would mean no bound at all.
        let qos = channel.basic_qos(prefetch.max(1), BasicQosOptions::default());
        connection.step("setting the prefetch", qos).await?;
        let consuming = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let deliveries = connection.step("consuming a queue", consuming).await;
        let deliveries = deliveries.map_err(|error| refusal::explain(error, "queue", queue))?;
        Ok(Self {
            deliveries,
            connection,
            ended: Arc::default(),
        })
    }

    pub(in crate::broker) async fn next(&mut self) -> Result<Delivery, Error> {
        let delivery = loop {
            let delivery = self.deliveries.next().await.ok_or(Error::Closed)?;
            let delivery = delivery.map_err(|error| away("receiving messages", error))?;
            // What was fetched ahead and can't be settled any more will be delivered again.
            if !delivery.acker.poisoned() {
                break delivery;
            }
        };
        let receipt = Receipt {
            acker: delivery.acker,
            ended: Arc::clone(&self.ended),
            timeouts: self.connection.timeouts,
        };
        Ok(Delivery {
            attempt: envelope::attempt(&delivery.properties, delivery.redelivered),
            message: envelope::read(&delivery.properties, delivery.data),
            receipt: super::super::Receipt::RabbitMq(receipt),
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
    }
}

impl Receipt {
    pub(in crate::broker) async fn ack(self) -> Result<(), Error> {
        self.settle(
            "acknowledging a message",
            self.acker.ack(BasicAckOptions::default()),
        )
        .await
    }

    pub(in crate::broker) async fn dead_letter(self) -> Result<(), Error> {
        let reject = self.acker.reject(BasicRejectOptions { requeue: false });
        self.settle("rejecting a message", reject).await
    }

    async fn settle(
        &self,
        doing: &'static str,
        work: impl Future<Output = lapin::Result<bool>>,
    ) -> Result<(), Error> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        match super::connection::step(self.timeouts.step, doing, work).await {
            Ok(true) => Ok(()),
            // The acker of a channel that has ended says so, and only so.
            Ok(false) => Err(Error::Closed),
            Err(error) => Err(error),
        }
    }
}

/// Hands an unsettled message back, for now and not only when the consumer ends.
impl Drop for Receipt {
    fn drop(&mut self) {
        if self.acker.usable() && !self.ended.load(Ordering::SeqCst) {
            // The first poll sends it; nobody needs the answer, because a lost connection hands it
            // back as well.
            let back = self.acker.nack(BasicNackOptions {
                requeue: true,
                multiple: false,
            });
            let _ = back.now_or_never();
        }
    }
}
