//! Lets every typed request of async-stripe's crates go through our transport, with their own reading
//! of the answer: for one that has no method here yet.

use std::fmt::Display;

use bytes::Bytes;
use stripe_client_core::{CustomizedStripeRequest, StripeClient, StripeClientErr};

use super::Stripe;
use super::failure::{Failure, FailureKind};
use super::limiter::Lane;
use super::transport::Call;

impl StripeClient for Stripe {
    type Err = Failure;

    /// Sends once, in the lane [`Lane::Downsync`], with the idempotency key of the request's strategy.
    /// A strategy that retries is not followed: the transport never tries twice.
    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, Failure> {
        let (request, settings) = request.into_pieces();
        let key = settings
            .request_strategy
            .and_then(|strategy| strategy.get_key());
        let call = Call {
            operation: "typed",
            lane: Lane::Downsync,
            request,
            key: key.as_ref().map(|key| key.as_str()),
        };
        let answer = self.transport.send(call).await?;
        Ok(answer.body)
    }
}

impl StripeClientErr for Failure {
    fn deserialize_err(message: impl Display) -> Self {
        Self::new(FailureKind::Unparsed, message.to_string())
    }
}
