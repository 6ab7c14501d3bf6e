//! Stripe's webhooks: a signed event goes into the inbox, and that is all. It needs no broker and no Stripe; the
//! worker reads the customer again, so a webhook that is doubled, late, out of order or forged content-wise changes
//! nothing by itself.

mod event;
mod signature;

use std::sync::Arc;

use entity::downsync_state;
use entity::stripe_event::{self, Source};
use metrics::counter;
use platform::clock::Clock;
use platform::database::{Database, now};
use platform::wake::Wake;
use poem::http::StatusCode;
use poem::{Body, Endpoint, Request, Response};
use sea_orm::EntityTrait;
use tokio::time::timeout;

pub use signature::WebhookSecrets;

use event::Received;

use crate::body::PATIENCE;
use crate::database::patiently;
use crate::problem::{Code, Problem};

/// Where Stripe sends them.
pub(crate) const PATH: &str = "/stripe/webhook";

/// Stripe's own events are far smaller.
const MAX_BYTES: usize = 256 * 1024;

/// Takes what Stripe sends: 200 once it is in the inbox, or was before, or is of no interest here, as one of another
/// mode or account.
#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) secrets: Arc<WebhookSecrets>,
    /// Woken after every commit of a new event.
    pub(crate) inbox: Wake,
}

impl Endpoint for Webhook {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let taken = match self.take(&mut request).await {
            Ok(taken) => taken,
            Err(problem) => {
                if problem.code.status().is_client_error() {
                    count("refused");
                }
                return Err(problem.into());
            }
        };
        count(taken);
        Ok(Response::builder().status(StatusCode::OK).finish())
    }
}

impl Webhook {
    async fn take(&self, request: &mut Request) -> Result<&'static str, Problem> {
        if self.secrets.is_empty() {
            let detail = "no webhook is expected here: STRIPE_WEBHOOK_SECRET is not set";
            return Err(Problem::new(Code::NotFound, detail));
        }
        let body = read(request.take_body()).await?;
        // Before anything in the body is looked at. Stripe's clock against this process's: it may be minutes off.
        let signed_by = self.clock.now().timestamp();
        let header = request.header("stripe-signature");
        self.secrets
            .verify(header, &body, signed_by)
            .map_err(|refused| {
                Problem::new(Code::InvalidSignature, refused.0).at("Stripe-Signature")
            })?;
        let Some(received) = event::read(&body)? else {
            return Ok("ignored");
        };
        if self.is_foreign(&received).await? {
            // Refused, Stripe would send it for days and then disable the endpoint.
            tracing::warn!(
                event.id = received.event.id,
                "a webhook event of another Stripe mode or account is not stored; the endpoint that sends it is not \
                 meant for this database"
            );
            return Ok("foreign");
        }
        let events = [received.event];
        // Doing it twice is doing it once.
        let receive = || async {
            let now = now(&self.db, &self.clock).await?;
            stripe_event::receive(&self.db, &events, Source::Webhook, now).await
        };
        let fresh = patiently(receive).await?;
        if fresh > 0 {
            self.inbox.wake();
        }
        let [event] = &events;
        tracing::debug!(
            event.id,
            event.kind,
            stripe.id = event.stripe_id,
            fresh,
            "a webhook came"
        );
        Ok(if fresh == 0 { "duplicate" } else { "stored" })
    }
}

impl Webhook {
    /// Whether the event is of another mode or account than the one that the worker has pinned.
    async fn is_foreign(&self, received: &Received) -> Result<bool, Problem> {
        let state = || downsync_state::Entity::find_by_id(downsync_state::ID).one(&self.db);
        let pinned = patiently(state).await?;
        Ok(pinned.is_some_and(|pinned| {
            received.is_foreign(pinned.livemode, pinned.account_id.as_deref())
        }))
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let reading = timeout(PATIENCE, body.into_bytes_limit(MAX_BYTES)).await;
    match reading {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(poem::error::ReadBodyError::PayloadTooLarge)) => Err(Problem::new(
            Code::PayloadTooLarge,
            "the body is larger than 256 KiB",
        )),
        Ok(Err(error)) => {
            Err(Problem::new(Code::MalformedRequest, "the body can't be read").because(error))
        }
        Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            "the body did not arrive in time",
        )),
    }
}

fn count(outcome: &'static str) {
    counter!("stripe_webhooks_total", "outcome" => outcome).increment(1);
}
