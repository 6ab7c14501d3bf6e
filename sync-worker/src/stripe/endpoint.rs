//! Stripe's webhook endpoints: found, made and put right. For the operator's commands; the sync itself needs none.
//!
//! The requests are our own, because async-stripe's would bring another generated crate for two paths.

use bytes::Bytes;
use entity::stripe_event::KINDS;
use entity::stripe_object::{Object, Unreadable, id, unreadable};
use platform::config::Secret;
use serde_json::Value;
use stripe_client_core::{RequestBuilder, StripeMethod};

use super::answer::{self, Invalid};
use super::failure::Failure;
use super::limiter::Lane;
use super::transport::Call;
use super::{Stripe, path_segment, with_body};

const PATH: &str = "/webhook_endpoints";

/// Where Stripe sends events, and which.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: String,
    pub url: String,
    pub enabled_events: Vec<String>,
    pub is_enabled: bool,
    /// What signs the events. Stripe tells it in the answer that made the endpoint, and in no other.
    pub secret: Option<Secret>,
}

impl Endpoint {
    /// Whether it sends the events of [`KINDS`] and no other.
    pub fn sends_our_events(&self) -> bool {
        let mut sent: Vec<&str> = self.enabled_events.iter().map(String::as_str).collect();
        let mut ours = KINDS.to_vec();
        sent.sort_unstable();
        sent.dedup();
        ours.sort_unstable();
        sent == ours
    }
}

impl Stripe {
    /// The endpoints of the account, at most 100, which is more than Stripe allows.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        let mut request = RequestBuilder::new(StripeMethod::Get, PATH);
        request.query = Some("limit=100".to_owned());
        let read = |body: &Bytes| {
            let objects = answer::objects(body)?;
            let endpoints = objects.iter().map(|object| self.endpoint(object));
            endpoints.collect()
        };
        Ok(self.ask(call(request, None), read).await?.value)
    }

    /// Makes an endpoint for the events of [`KINDS`]. The same key and url never make two within 24 hours.
    pub async fn create_endpoint(&self, url: &str, key: &str) -> Result<Endpoint, Failure> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        let body = events(body.append_pair("url", url)).finish();
        let request = with_body(RequestBuilder::new(StripeMethod::Post, PATH), &body);
        let read = |body: &Bytes| {
            let made = self.endpoint(&answer::object(body)?)?;
            match made.url == url {
                true => Ok(made),
                false => Err(answer::mismatched("an endpoint with another url")),
            }
        };
        Ok(self.ask(call(request, Some(key)), read).await?.value)
    }

    /// Enables an endpoint and lets it send the events of [`KINDS`] and no other.
    pub async fn repair_endpoint(&self, id: &str, key: &str) -> Result<Endpoint, Failure> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        let body = events(body.append_pair("disabled", "false")).finish();
        let path = format!("{PATH}/{}", path_segment(id)?);
        let request = with_body(RequestBuilder::new(StripeMethod::Post, path), &body);
        let read = |body: &Bytes| {
            let repaired = self.endpoint(&answer::object(body)?)?;
            match repaired.id == id {
                true => Ok(repaired),
                false => Err(answer::mismatched(
                    "another endpoint than the one asked for",
                )),
            }
        };
        Ok(self.ask(call(request, Some(key)), read).await?.value)
    }

    fn endpoint(&self, object: &Object) -> Result<Endpoint, Invalid> {
        self.mode
            .check(object.get("livemode").and_then(Value::as_bool))?;
        Ok(endpoint(object)?)
    }
}

fn call(request: RequestBuilder, key: Option<&str>) -> Call<'_> {
    Call {
        operation: "endpoint",
        lane: Lane::Downsync,
        request,
        key,
    }
}

fn events<'a, 'b>(
    body: &'b mut form_urlencoded::Serializer<'a, String>,
) -> &'b mut form_urlencoded::Serializer<'a, String> {
    for (place, kind) in KINDS.iter().enumerate() {
        body.append_pair(&format!("enabled_events[{place}]"), kind);
    }
    body
}

fn endpoint(object: &Object) -> Result<Endpoint, Unreadable> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let events = object.get("enabled_events").and_then(Value::as_array);
    let (Some(url), Some(events)) = (text("url"), events) else {
        return Err(unreadable("an endpoint without a url or events"));
    };
    Ok(Endpoint {
        id: id(object)?,
        url: url.to_owned(),
        enabled_events: events
            .iter()
            .filter_map(|event| Some(event.as_str()?.to_owned()))
            .collect(),
        is_enabled: text("status") == Some("enabled"),
        secret: text("secret").map(Secret::new),
    })
}
