//! What the API answers, before it is HTTP.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::wire::error::Error;
use crate::world::customer::view::View;
use crate::world::customer::{self, Customer};
use crate::world::event::RequestId;
use crate::world::idempotency::{Body, Claim, Saved};

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    /// Headers beyond those that every answer has.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The customer it is about, for the record of requests.
    pub(crate) customer: Option<customer::Id>,
    /// The effect and the answer were kept in one step, as they are for every customer.
    pub(crate) saved_with_effect: bool,
}

impl Answer {
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::new(200, serde_json::to_vec_pretty(value).unwrap_or_default())
    }

    pub(crate) fn customer(customer: &Customer, livemode: bool) -> Self {
        Self::json(&View { customer, livemode }).about(Some(customer.id))
    }

    pub(crate) fn refusal(error: &Error, request: RequestId) -> Self {
        let mut answer = Self::new(error.status, error.body(&request.with_prefix("req_")));
        match error.status {
            401 => answer
                .headers
                .push(("www-authenticate", "Basic realm=\"Stripe\"".to_owned())),
            409 => answer
                .headers
                .push(("stripe-should-retry", "true".to_owned())),
            _ => {}
        }
        answer
    }

    pub(crate) fn replay(saved: Saved, livemode: bool) -> Self {
        let mut answer = match saved.body {
            Body::Customer(customer) => Self::customer(&customer, livemode),
            Body::Text(text) => Self::new(saved.status, text.as_bytes().to_vec()),
        };
        answer
            .headers
            .push(("idempotent-replayed", "true".to_owned()));
        answer
            .headers
            .push(("original-request", saved.request.with_prefix("req_")));
        answer
    }

    pub(crate) fn about(mut self, customer: Option<customer::Id>) -> Self {
        self.customer = customer;
        self
    }

    pub(crate) fn saved_with_effect(mut self) -> Self {
        self.saved_with_effect = true;
        self
    }

    pub(crate) fn to_saved(&self, claim: Claim, at: i64, request: RequestId) -> Saved {
        let text: Arc<str> = String::from_utf8_lossy(&self.body).into();
        Saved {
            claim,
            at,
            status: self.status,
            request,
            body: Body::Text(text),
        }
    }

    fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            body: body.into(),
            headers: Vec::new(),
            customer: None,
            saved_with_effect: false,
        }
    }
}
