//! Sends drift messages, and lets a scan go on only when the broker has confirmed them.

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use entity::message::{DOWNSYNC, DRIFT, Drift, SOURCE};
use platform::broker::{Broker, Message, Outcome, Publisher};
use platform::telemetry;

/// The broker inside the process confirms what was applied, for which a slow disk takes its time; and its
/// patience is for a batch.
pub(super) const AT_ONCE: usize = 25;

/// A publisher that is opened when it is first needed, and opened anew after it broke.
pub struct Drifts {
    broker: Broker,
    publisher: Option<Publisher>,
}

impl Drifts {
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
            publisher: None,
        }
    }

    /// Another one, to the same broker.
    pub(super) fn another(&self) -> Self {
        Self::new(self.broker.clone())
    }

    /// Publishes all of them.
    ///
    /// # Errors
    /// Not every one was confirmed; the caller counts none as sent. One that arrived nevertheless
    /// does no harm, because applying a drift twice changes nothing.
    pub async fn send(&mut self, drifts: &[Drift], now: DateTime<Utc>) -> anyhow::Result<()> {
        if drifts.is_empty() {
            return Ok(());
        }
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => self
                .broker
                .publisher()
                .await
                .context("publishing what differs in Stripe")?,
        };
        for drifts in drifts.chunks(AT_ONCE) {
            let batch = drifts
                .iter()
                .map(|drift| message(drift, now))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let outcomes = publisher.publish(DOWNSYNC, batch).await;
            if outcomes
                .iter()
                .any(|outcome| *outcome != Outcome::Confirmed)
            {
                bail!("the broker did not confirm every message about what differs in Stripe");
            }
            metrics::counter!("downsync_drifts_total").increment(drifts.len() as u64);
        }
        self.publisher = Some(publisher);
        Ok(())
    }
}

fn message(drift: &Drift, now: DateTime<Utc>) -> anyhow::Result<Message> {
    let subject = drift.copy.stripe_id.clone();
    Ok(Message {
        id: format!("{subject}/{}", drift.read_at.order),
        kind: DRIFT.to_owned(),
        source: SOURCE.to_owned(),
        subject,
        schema: None,
        time: now,
        traceparent: Some(telemetry::traceparent()),
        body: serde_json::to_vec(drift)
            .context("spelling a drift message")?
            .into(),
    })
}
