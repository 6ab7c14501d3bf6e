//! Webhooks: signs events and sends them, each in its own task, so that a slow receiver never slows the API.
//! At least once, in no order, given up after the configured tries.

pub(crate) mod sign;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fault::tamper::Tamper;
use crate::sandbox::state::State;
use crate::world::{Outgoing, endpoint, lock};

/// Requests to one endpoint that are open at the same time.
const OPEN_MAX: usize = 64;

struct Sender {
    state: Arc<State>,
    client: reqwest::Client,
    /// By endpoint, so that one that does not answer delays no other.
    open: Mutex<HashMap<endpoint::Id, Arc<Semaphore>>>,
}

impl Sender {
    fn open(&self, endpoint: endpoint::Id) -> Arc<Semaphore> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Semaphore::new(OPEN_MAX));
        open.entry(endpoint).or_insert_with(new).clone()
    }
}

/// Sends what the account has to send until `stop`; then what still waits is dropped.
pub(crate) async fn run(state: Arc<State>, stop: CancellationToken) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(state.options.webhook_timeout)
        .no_proxy()
        .user_agent("Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .build()
        .context("building the webhook client")?;
    let sender = Arc::new(Sender {
        state: state.clone(),
        client,
        open: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = state.wake.notified() => {}
            Some(_) = tasks.join_next() => continue,
        }
        let outgoing = lock(&state.world).take_outgoing();
        for delivery in outgoing {
            if tasks.len() >= state.options.max_deliveries {
                tracing::warn!(event.id = %delivery.event, "too many webhook deliveries wait; one is dropped");
                continue;
            }
            let tamper = state.faults.tamper(delivery.kind.name());
            let delivery = Arc::new(delivery);
            for _ in 0..tamper.copies {
                tasks.spawn(deliver(sender.clone(), delivery.clone(), tamper));
            }
        }
    }
    tasks.shutdown().await;
    Ok(())
}

async fn deliver(sender: Arc<Sender>, delivery: Arc<Outgoing>, tamper: Tamper) {
    let waits = std::iter::once(&tamper.delay).chain(&sender.state.options.webhook_backoff);
    for wait in waits {
        if !wait.is_zero() {
            tokio::time::sleep(*wait).await;
        }
        match attempt(&sender, &delivery, tamper.wrongly_signed).await {
            Outcome::Taken => {
                lock(&sender.state.world).events.delivered(delivery.event);
                return;
            }
            Outcome::Gone => return,
            Outcome::Failed => {}
        }
    }
    tracing::warn!(event.id = %delivery.event, endpoint.id = %delivery.endpoint, "a webhook delivery is given up");
}

enum Outcome {
    Taken,
    Failed,
    /// The endpoint was deleted or disabled meanwhile.
    Gone,
}

/// One try, signed anew as Stripe does.
async fn attempt(sender: &Sender, delivery: &Outgoing, wrongly_signed: bool) -> Outcome {
    let open = sender.open(delivery.endpoint);
    let Ok(_open) = open.acquire().await else {
        return Outcome::Failed;
    };
    let now = sender.state.options.clock.now().timestamp();
    let target = {
        let world = lock(&sender.state.world);
        let endpoint = world
            .endpoints
            .iter()
            .find(|known| known.id == delivery.endpoint && !known.disabled);
        endpoint.map(|known| {
            let secrets = if wrongly_signed {
                vec!["whsec_of_somebody_else"]
            } else {
                known.secrets(now)
            };
            (
                known.url.clone(),
                sign::header(&secrets, now, &delivery.body),
            )
        })
    };
    let Some((url, signature)) = target else {
        return Outcome::Gone;
    };
    let request = sender
        .client
        .post(url)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(delivery.body.to_string());
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Outcome::Taken,
        Ok(answer) => {
            tracing::debug!(event.id = %delivery.event, status = answer.status().as_u16(), "a webhook was refused");
            Outcome::Failed
        }
        Err(error) => {
            tracing::debug!(event.id = %delivery.event, error = %error, "a webhook was not delivered");
            Outcome::Failed
        }
    }
}
