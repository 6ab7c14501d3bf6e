//! Stripe's API as far as customers need it: one request a call, sent once, its answer read leniently.
//!
//! Method, path, query and body are those of async-stripe's typed requests. The transport and the reading
//! of answers are our own: async-stripe's opens a connection for each request, drops the headers
//! that tell what happened, and loses an answer for one missing member. When to try again, and with
//! which key, is [`crate::outcome`]'s to say.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use entity::message::StripeCopy;
use entity::stripe_event::Event;
use entity::stripe_object::{Outline, is_id};
use entity::stripe_read::Kind;
use platform::config::Secret;
use reqwest::Url;
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::customer::{CreateCustomer, DeleteCustomer, RetrieveCustomer, UpdateCustomer};

use answer::Invalid;
use limiter::Limiter;
use mode::Mode;
use transport::{Call, Transport};

pub use body::{create_body, detach_body, update_body};
pub use endpoint::Endpoint;
pub use failure::{Details, Failure, FailureKind};
pub use limiter::Lane;
pub use page::{EventPage, LARGEST_PAGE, ListPage, Outlined, Page, Source};

mod answer;
mod body;
mod echo;
mod endpoint;
mod failure;
mod first_id;
mod limiter;
mod mode;
mod page;
mod reads;
mod transport;
mod typed;

/// Stripe itself.
pub const API_BASE: &str = "https://api.stripe.com";

/// A client of one account. Clones share its connections and its rate.
#[derive(Clone)]
pub struct Stripe {
    transport: Arc<Transport>,
    mode: Mode,
    /// The account that the settings state, for a server that cannot.
    stated_account: Option<Arc<str>>,
}

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// `sk_…` or `rk_…`. A restricted key needs Customers: write and Events: read.
    pub secret_key: Secret,
    /// [`API_BASE`] or another server that speaks Stripe's API.
    pub api_base: String,
    /// The account of the key, for a server without `/v1/account`.
    pub account: Option<String>,
    /// For one request, from its sending to the end of its answer; waiting for a turn is not counted.
    pub timeout: Duration,
    /// Requests a second, of all lanes together.
    pub rate: f64,
    /// Requests at once after a pause.
    pub burst: u32,
}

impl Options {
    /// The defaults: 30 seconds, and a rate that stays below the 25 a second which Stripe grants a
    /// sandbox, and one endpoint of a live account.
    pub fn new(secret_key: Secret, api_base: impl Into<String>) -> Self {
        Self {
            secret_key,
            api_base: api_base.into(),
            account: None,
            timeout: Duration::from_secs(30),
            rate: 20.0,
            burst: 5,
        }
    }
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<T> {
    pub value: T,
    /// Names the request in Stripe's own logs.
    pub request_id: Option<String>,
    /// When it was answered by Stripe's clock, in Unix seconds.
    pub served_at: Option<i64>,
    /// An earlier request with the same key did this, and Stripe repeated its answer: the value is
    /// as it was then.
    pub replayed: bool,
}

/// Whom the key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: String,
    /// From the key's prefix, else from an answer.
    pub livemode: Option<bool>,
}

impl Stripe {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the base is no http(s) url, the rate is not above zero, or a live key would travel
    /// unencrypted. No error quotes the key.
    pub fn new(options: Options) -> anyhow::Result<Self> {
        let base = Url::parse(&options.api_base).context("reading the url of stripe's api")?;
        ensure!(
            matches!(base.scheme(), "http" | "https") && base.has_host() && base.query().is_none(),
            "the url of stripe's api must begin with https:// or http:// and have no query"
        );
        ensure!(
            options.rate.is_finite() && options.rate > 0.0,
            "the rate of requests to stripe must be above zero"
        );
        let mode = Mode::of_key(options.secret_key.expose());
        ensure!(
            mode.livemode() != Some(true)
                || base.scheme() == "https"
                || transport::is_loopback(&base),
            "a live key is not sent unencrypted: the url of stripe's api must begin with https://"
        );
        let limiter = Limiter::new(options.rate, options.burst);
        let transport = Transport::new(&base, options.secret_key, options.timeout, limiter)?;
        Ok(Self {
            transport: Arc::new(transport),
            mode,
            stated_account: options.account.map(Arc::from),
        })
    }

    /// Creates a customer from a [`create_body`]. The same key and body never make two within 24 hours.
    pub async fn create(
        &self,
        lane: Lane,
        body: &str,
        key: &str,
    ) -> Result<Reply<StripeCopy>, Failure> {
        let call = Call {
            operation: "create",
            lane,
            request: with_body(CreateCustomer::new().build(), body),
            key: Some(key),
        };
        let read = |answer: &Bytes| {
            let copy = answer::customer(answer, &self.mode)?;
            echo::check(body, &copy)?;
            Ok(copy)
        };
        self.ask(call, read).await
    }

    /// Changes a customer by an [`update_body`] or the [`detach_body`].
    pub async fn update(
        &self,
        lane: Lane,
        stripe_id: &str,
        body: &str,
        key: &str,
    ) -> Result<Reply<StripeCopy>, Failure> {
        let request = UpdateCustomer::new(path_segment(stripe_id)?).build();
        let call = Call {
            operation: "update",
            lane,
            request: with_body(request, body),
            key: Some(key),
        };
        let read = |answer: &Bytes| {
            let copy = answer::customer_with_id(answer, stripe_id, &self.mode)?;
            echo::check(body, &copy)?;
            Ok(copy)
        };
        self.ask(call, read).await
    }

    /// Deletes a customer for good, and ends its subscriptions. Stripe has no use for a key here.
    pub async fn delete(&self, lane: Lane, stripe_id: &str) -> Result<Reply<()>, Failure> {
        let call = Call {
            operation: "delete",
            lane,
            request: DeleteCustomer::new(path_segment(stripe_id)?).build(),
            key: None,
        };
        self.ask(call, |body| answer::deleted(body, stripe_id, &self.mode))
            .await
    }

    /// Reads a customer. Of a deleted one the copy says so, and of one that cannot be read; an unknown one is a failure
    /// (404).
    pub async fn retrieve(
        &self,
        lane: Lane,
        stripe_id: &str,
    ) -> Result<Reply<StripeCopy>, Failure> {
        let call = Call {
            operation: "retrieve",
            lane,
            request: RetrieveCustomer::new(path_segment(stripe_id)?).build(),
            key: None,
        };
        let read = |body: &Bytes| answer::retrieved(body, stripe_id, &self.mode);
        self.ask(call, read).await
    }

    /// Reads a page of customers. One that is too large is asked for in smaller pages, and a customer that is too large
    /// by itself, or cannot be read, is in its page by its id only.
    pub async fn list(
        &self,
        lane: Lane,
        page: &ListPage,
    ) -> Result<Reply<Page<StripeCopy>>, Failure> {
        let email = page.email.clone();
        let read = |body: &Bytes| answer::customers(body, email.as_deref(), &self.mode);
        let skip = |id: String| Page::skipping(vec![StripeCopy::unreadable(&id)], id);
        let mut page = page.clone();
        loop {
            match self.ask(listing(lane, &page), read).await {
                Err(failure) if is_halved(&mut page.limit, &failure) => {}
                Err(failure) => return skipped(failure, skip),
                reply => return reply,
            }
        }
    }

    /// Reads a page of customers in outline, as [`Self::list`] does.
    pub async fn outline(&self, lane: Lane, page: &ListPage) -> Result<Reply<Outlined>, Failure> {
        let read = |body: &Bytes| {
            Ok(Outlined {
                page: answer::outlines(body, &self.mode)?,
                source: Source(body.clone()),
            })
        };
        let skip = |id: String| Outlined {
            page: Page::skipping(vec![Outline::unreadable(&id)], id),
            source: Source::none(),
        };
        let mut page = page.clone();
        loop {
            match self.ask(listing(lane, &page), read).await {
                Err(failure) if is_halved(&mut page.limit, &failure) => {}
                Err(failure) => return skipped(failure, skip),
                reply => return reply,
            }
        }
    }

    /// Reads a page of events. One that is too large is asked for in smaller pages, and an event that is too large by
    /// itself is left out.
    pub async fn events(
        &self,
        lane: Lane,
        page: &EventPage,
    ) -> Result<Reply<Page<Event>>, Failure> {
        let read = |body: &Bytes| answer::events(body, &self.mode);
        let skip = |id: String| {
            tracing::warn!(event.id = %id, "an event is too large to be read and is left out");
            Page::skipping(Vec::new(), id)
        };
        let mut page = page.clone();
        loop {
            let call = Call {
                operation: "events",
                lane,
                request: page.request().build(),
                key: None,
            };
            match self.ask(call, read).await {
                Err(failure) if is_halved(&mut page.limit, &failure) => {}
                Err(failure) => return skipped(failure, skip),
                reply => return reply,
            }
        }
    }

    /// Whether the settings state the account, so that the server is not asked for it.
    pub fn states_account(&self) -> bool {
        self.stated_account.is_some()
    }

    /// Reads whose account this is. A restricted key may lack the permission for it (403) and be
    /// good for everything else.
    pub async fn account(&self, lane: Lane) -> Result<Reply<Account>, Failure> {
        if let Some(stated) = &self.stated_account {
            return Ok(Reply {
                value: Account {
                    id: stated.to_string(),
                    livemode: self.mode.livemode(),
                },
                request_id: None,
                served_at: None,
                replayed: false,
            });
        }
        let call = Call {
            operation: "account",
            lane,
            // Its typed request would bring another generated crate for one path.
            request: RequestBuilder::new(StripeMethod::Get, "/account"),
            key: None,
        };
        let read = |body: &Bytes| {
            let id = answer::account(body, &self.mode)?;
            let livemode = self.mode.livemode();
            Ok(Account { id, livemode })
        };
        self.ask(call, read).await
    }

    /// Whether the key is one for live mode; `None` if neither it nor an object has shown that yet.
    pub fn livemode(&self) -> Option<bool> {
        self.mode.livemode()
    }

    /// Takes objects of this mode only. The prefix of the key, where it says the mode, wins.
    pub fn expect_livemode(&self, livemode: bool) {
        self.mode.expect(livemode);
    }

    /// Divides the rate between `workers` processes that use the same account.
    pub fn set_share(&self, workers: u32) {
        self.transport.limiter.set_share(workers);
    }

    /// Requests a second that are let through now: less than this process's share after Stripe has
    /// refused some as too many.
    pub fn rate(&self) -> f64 {
        self.transport.limiter.rate()
    }

    /// How many reads of which kind were sent since the last time this was asked; none of a kind is left out.
    pub fn take_reads(&self) -> Vec<(Kind, u64)> {
        self.transport.reads.take()
    }

    /// Counts reads that were taken and could not be brought anywhere.
    pub fn give_back_reads(&self, counts: &[(Kind, u64)]) {
        for (kind, count) in counts {
            self.transport.reads.add(*kind, *count);
        }
    }

    async fn ask<T>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(&Bytes) -> Result<T, Invalid>,
    ) -> Result<Reply<T>, Failure> {
        let operation = call.operation;
        let answer = self.transport.send(call).await?;
        match read(&answer.body) {
            Ok(value) => Ok(Reply {
                value,
                request_id: answer.request_id,
                served_at: answer.served_at,
                replayed: answer.replayed,
            }),
            Err(invalid) => {
                let failure = answer.invalid(invalid);
                if failure.kind == FailureKind::Mismatched {
                    transport::count_mismatch(operation);
                    tracing::warn!(operation, %failure, "a response of Stripe's does not match its request");
                }
                Err(failure)
            }
        }
    }
}

/// Whether a page was too large and its half is to be asked for instead.
fn is_halved(limit: &mut u32, failure: &Failure) -> bool {
    let is_halved = failure.kind == FailureKind::TooLarge && *limit > 1;
    if is_halved {
        *limit /= 2;
        tracing::debug!(limit, "a page is too large and is asked for in part");
    }
    is_halved
}

/// Skips a single object that is too large, if its id could be read.
fn skipped<T>(failure: Failure, page: impl FnOnce(String) -> T) -> Result<Reply<T>, Failure> {
    let too_large = failure.kind == FailureKind::TooLarge;
    let Some(id) = failure.first_id.clone().filter(|_| too_large) else {
        return Err(failure);
    };
    Ok(Reply {
        value: page(id),
        request_id: failure.request_id.clone(),
        served_at: None,
        replayed: false,
    })
}

fn listing(lane: Lane, page: &ListPage) -> Call<'static> {
    Call {
        operation: "list",
        lane,
        request: page.request().build(),
        key: None,
    }
}

fn with_body(mut request: RequestBuilder, body: &str) -> RequestBuilder {
    request.body = Some(body.to_owned());
    request
}

/// The id as a part of a path. Without the check a bad id would reach another endpoint: none at all
/// would make a list of a retrieve.
fn path_segment(stripe_id: &str) -> Result<String, Failure> {
    if is_id(stripe_id) {
        Ok(form_urlencoded::byte_serialize(stripe_id.as_bytes()).collect())
    } else {
        let what = "an id that no stripe customer has";
        Err(Failure::new(FailureKind::Unsendable, what))
    }
}
