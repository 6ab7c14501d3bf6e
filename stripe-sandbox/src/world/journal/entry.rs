//! One change of an account: what the journal writes as a line and what the memory applies, so that a
//! restart ends where the running process stood.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::world::customer::Customer;
use crate::world::endpoint::{self, Endpoint};
use crate::world::event::{Event, Head, RequestId};
use crate::world::idempotency::{Body, Claim, Saved};

/// Everything that one request changes; it is there as a whole after a crash, or not at all.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// The customer's new state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customer: Option<Arc<Customer>>,
    /// What the event and the saved answer show, when that is not `customer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<Arc<Customer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<Head>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) saved: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_removed: Option<endpoint::Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_forgotten: Option<Arc<str>>,
}

/// A saved answer without the customer it shows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    claim: Claim,
    at: i64,
    status: u16,
    request: RequestId,
    /// None when it is the customer shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Arc<str>>,
}

impl Entry {
    pub(crate) fn of_event(event: &Event) -> Self {
        Self {
            shown: Some(event.object.clone()),
            event: Some(event.head.clone()),
            ..Self::default()
        }
    }

    pub(crate) fn of_saved(saved: &Saved) -> Self {
        let (shown, text) = match &saved.body {
            Body::Customer(customer) => (Some(customer.clone()), None),
            Body::Text(text) => (None, Some(text.clone())),
        };
        Self {
            shown,
            saved: Some(Answer::new(saved, text)),
            ..Self::default()
        }
    }

    /// Adds the answer that shows this entry's own customer.
    pub(crate) fn with_saved(mut self, claim: Claim, at: i64, request: RequestId) -> Self {
        self.saved = Some(Answer {
            claim,
            at,
            status: 200,
            request,
            text: None,
        });
        self
    }

    pub(crate) fn shown(&self) -> Option<&Arc<Customer>> {
        self.shown.as_ref().or(self.customer.as_ref())
    }

    pub(crate) fn take_event(&mut self) -> Option<Event> {
        let object = self.shown()?.clone();
        Some(Event {
            head: self.event.take()?,
            object,
        })
    }

    pub(crate) fn take_saved(&mut self) -> Option<Saved> {
        let answer = self.saved.take()?;
        let body = match answer.text {
            Some(text) => Body::Text(text),
            None => Body::Customer(self.shown()?.clone()),
        };
        Some(Saved {
            claim: answer.claim,
            at: answer.at,
            status: answer.status,
            request: answer.request,
            body,
        })
    }
}

impl Answer {
    fn new(saved: &Saved, text: Option<Arc<str>>) -> Self {
        Self {
            claim: saved.claim.clone(),
            at: saved.at,
            status: saved.status,
            request: saved.request,
            text,
        }
    }
}
