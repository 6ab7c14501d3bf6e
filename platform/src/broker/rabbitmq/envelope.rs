//! A message as a CloudEvent in structured mode, and back: all attributes are in the body, so that every
//! consumer can read them. Reading never fails: a foreign message comes with what it has.

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Bytes, Message};

/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>
const CONTENT_TYPE: &str = "application/cloudevents+json";
const PERSISTENT: u8 = 2;

/// The attributes.
#[derive(Serialize)]
struct Attributes<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataschema: Option<&'a str>,
    /// Of the extension for distributed tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

#[derive(Deserialize)]
struct Received {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    time: Option<DateTime<Utc>>,
    dataschema: Option<String>,
    traceparent: Option<String>,
    data: Option<Value>,
}

pub(super) fn properties(message: &Message) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(message_id(message))
}

/// The body. The data is JSON already and is not parsed again.
pub(super) fn write(message: &Message) -> Vec<u8> {
    let attributes = Attributes {
        specversion: "1.0",
        id: &message.id,
        source: &message.source,
        kind: &message.kind,
        subject: &message.subject,
        time: message.time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        datacontenttype: "application/json",
        dataschema: message.schema.as_deref(),
        traceparent: message.traceparent.as_deref(),
    };
    let mut body = Vec::with_capacity(512 + message.body.len());
    serde_json::to_writer(&mut body, &attributes).expect("texts are JSON");
    if !message.body.is_empty() {
        body.pop();
        body.extend_from_slice(b",\"data\":");
        body.extend_from_slice(&message.body);
        body.push(b'}');
    }
    body
}

/// By which a return names its message.
pub(super) fn message_id(message: &Message) -> ShortString {
    let mut id = message.id.as_str();
    while id.len() > 255 {
        let (last, _) = id
            .char_indices()
            .next_back()
            .expect("it is longer than 255 bytes");
        id = &id[..last];
    }
    id.into()
}

pub(super) fn read(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let content_type = properties.content_type().as_ref();
    let is_event = content_type.is_some_and(|text| text.as_str().starts_with(CONTENT_TYPE));
    let received = is_event.then(|| serde_json::from_slice::<Received>(&body));
    let Some(Ok(event)) = received else {
        let id = properties.message_id().as_ref().map(ToString::to_string);
        return Message {
            id: id.unwrap_or_default(),
            kind: String::new(),
            source: String::new(),
            subject: String::new(),
            schema: None,
            time: DateTime::UNIX_EPOCH,
            traceparent: None,
            body: Bytes::from(body),
        };
    };
    let data = event.data.map(|data| data.to_string());
    Message {
        id: event.id,
        kind: event.kind,
        source: event.source,
        subject: event.subject.unwrap_or_default(),
        schema: event.dataschema,
        time: event.time.unwrap_or(DateTime::UNIX_EPOCH),
        traceparent: event.traceparent,
        body: Bytes::from(data.unwrap_or_default()),
    }
}

/// Which delivery this is, counted from 1. Quorum queues count the earlier ones; other queues only
/// say that there was one.
pub(super) fn attempt(properties: &BasicProperties, redelivered: bool) -> u32 {
    let headers = properties.headers().as_ref();
    let earlier = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    let earlier = earlier.and_then(number);
    let earlier = earlier.unwrap_or_else(|| i64::from(redelivered));
    u32::try_from(earlier).unwrap_or(0).saturating_add(1)
}

fn number(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortUInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            id: "7/1".to_owned(),
            kind: "com.example.thing.created".to_owned(),
            source: "urn:uuid:3f2b".to_owned(),
            subject: "thing \"7\"".to_owned(),
            schema: Some("urn:example:thing".to_owned()),
            time: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            body: Bytes::from_static(b"{\"a\": 1}"),
        }
    }

    #[test]
    fn every_attribute_is_in_the_body() {
        let body: Value = serde_json::from_slice(&write(&message())).unwrap();
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": "7/1",
            "source": "urn:uuid:3f2b",
            "type": "com.example.thing.created",
            "subject": "thing \"7\"",
            "time": "2026-01-02T03:04:05.678901Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:example:thing",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {"a": 1},
        });
        assert_eq!(body, expected);
        let properties = properties(&message());
        assert!(properties.headers().is_none());
        let content_type = properties.content_type().clone().unwrap();
        assert_eq!(content_type.as_str(), "application/cloudevents+json");
    }

    #[test]
    fn a_foreign_message_comes_with_its_body() {
        let bare = BasicProperties::default();
        let event = bare.clone().with_content_type(CONTENT_TYPE.into());
        for (properties, body) in [
            (bare, &b"{\"id\":1}"[..]),
            (event.clone(), b"\xff"),
            (event, b"{\"id\":\"1\"}"),
        ] {
            let message = read(&properties, body.to_vec());
            assert_eq!((message.kind.as_str(), &message.body[..]), ("", body));
        }
    }
}
