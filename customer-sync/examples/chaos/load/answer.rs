//! What an answer of the API says about the fate of a write.

use entity::fields::{Field, Fields};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::history::{Outcome, State};

/// Sends once. Only a refusal that was read to its end proves that nothing was done; and only an answer that
/// shows the customer that something was.
pub(super) async fn outcome(request: RequestBuilder) -> Outcome {
    let Ok(response) = request.send().await else {
        return Outcome::Unknown;
    };
    let status = response.status();
    let Ok(text) = response.text().await else {
        return Outcome::Unknown;
    };
    if status.is_client_error() {
        // Too late or too many says nothing about the write.
        let is_refusal = ![408, 429].contains(&status.as_u16());
        return if is_refusal {
            Outcome::Refused
        } else {
            Outcome::Unknown
        };
    }
    let body = serde_json::from_str(&text).unwrap_or_default();
    match state(&body).filter(|_| status.is_success()) {
        Some(state) => Outcome::Acked(Some(state)),
        None => Outcome::Unknown,
    }
}

/// A customer as JSON, in the API's answers and in the messages on the broker.
pub(crate) fn state(body: &Value) -> Option<State> {
    let mut fields = Fields::default();
    for field in Field::ALL {
        let value = body[field.as_str()].as_str();
        fields.set(field, value.map(str::to_owned));
    }
    Some(State {
        id: body["id"].as_str()?.parse().ok()?,
        rev: body["rev"].as_i64()?,
        deleted: body["deleted"].as_bool()?,
        fields,
    })
}
