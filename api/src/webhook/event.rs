//! What an event names: its id, its type, its customer, its mode and the account that it comes from. Of an event in Stripe's snapshot form also what it shows; a thin event
//! shows nothing. Pure.

use chrono::DateTime;
use entity::stripe_event::{Event, KINDS};
use entity::stripe_object::{self, Object};
use entity::text::with_nuls;
use serde_json::Value;

use crate::problem::{Code, Problem};

/// An event, and where it comes from as far as it says so.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) event: Event,
    pub(super) livemode: Option<bool>,
    /// The connected account that it comes from; absent from an event of the endpoint's own account.
    pub(super) account: Option<String>,
}

impl Received {
    /// Whether it is of another mode, or of another account, than what is pinned. Pure.
    pub(super) fn is_foreign(&self, livemode: Option<bool>, account: Option<&str>) -> bool {
        let is_other_mode = livemode.zip(self.livemode).is_some_and(|(a, b)| a != b);
        let accounts = account.zip(self.account.as_deref());
        is_other_mode || accounts.is_some_and(|(a, b)| a != b)
    }
}

/// Reads an event that Stripe has signed; none if it is about something else than a customer, however
/// its type begins.
///
/// # Errors
/// It is no JSON, or it is about a customer and does not say which.
pub(super) fn read(body: &[u8]) -> Result<Option<Received>, Problem> {
    let again = |error| serde_json::from_str(&with_nuls(body)).map_err(|_| error);
    let object: Object = serde_json::from_slice(body)
        .or_else(again)
        .map_err(|_| Problem::new(Code::MalformedJson, "the body is no JSON object"))?;
    let kind = object.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| unnamed("type"))?;
    let is_thin = object.get("object").and_then(Value::as_str) == Some("v2.core.event");
    let kind = if is_thin {
        kind.strip_prefix("v1.").unwrap_or_default()
    } else {
        kind
    };
    if !KINDS.contains(&kind) {
        return Ok(None);
    }
    let id = stripe_object::id(&object).map_err(|_| unnamed("id"))?;
    let data = object.get("data");
    let customer = if is_thin {
        object.get("related_object")
    } else {
        data.and_then(|data| data.get("object"))
    };
    let customer = customer.and_then(Value::as_object);
    let customer = customer.ok_or_else(|| unnamed("customer"))?;
    let stripe_id = stripe_object::id(customer).map_err(|_| unnamed("customer"))?;
    // A thin event names the account in its context.
    let account = object.get("account").or_else(|| object.get("context"));
    let account = account.and_then(Value::as_str).map(str::to_owned);
    let livemode = object.get("livemode").and_then(Value::as_bool);
    let event = Event {
        id,
        kind: kind.to_owned(),
        stripe_id,
        created: object.get("created").map_or(0, seconds),
        copy: (!is_thin)
            .then(|| stripe_object::copy(customer).ok())
            .flatten(),
        replaced: data.and_then(stripe_object::replaced),
    };
    Ok(Some(Received {
        event,
        livemode,
        account,
    }))
}

fn unnamed(what: &'static str) -> Problem {
    Problem::invalid(what, format!("the event names no {what}"))
}

/// Nothing is ordered by it, so what cannot be read is as good as none.
fn seconds(created: &Value) -> i64 {
    let text = || created.as_str()?.parse::<DateTime<chrono::Utc>>().ok();
    created
        .as_i64()
        .or_else(|| text().map(|at| at.timestamp()))
        .unwrap_or_default()
}
