//! A message as AMQP properties, by the CloudEvents binding in binary mode, and back. Reading never
//! fails: a message from somebody else comes with what it has.

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::super::{Bytes, Message};

/// Of the AMQP binding,
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>.
const PREFIX: &str = "cloudEvents:";
const PERSISTENT: u8 = 2;

pub(super) fn write(message: &Message) -> BasicProperties {
    let time = message.time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", &message.id),
        ("type", &message.kind),
        ("source", &message.source),
        ("subject", &message.subject),
        ("time", &time),
    ] {
        headers.insert(
            format!("{PREFIX}{name}").into(),
            AMQPValue::LongString(value.into()),
        );
    }
    if let Some(traceparent) = &message.traceparent {
        headers.insert(
            "traceparent".into(),
            AMQPValue::LongString(traceparent.as_str().into()),
        );
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(message_id(message))
        .with_headers(headers)
}

/// What a return is told by.
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
    let id = properties.message_id().as_ref().map(ToString::to_string);
    let text = |name: &str| header(properties, name).and_then(text);
    let attribute = |name: &str| text(&format!("{PREFIX}{name}"));
    let time = attribute("time").and_then(|time| DateTime::parse_from_rfc3339(&time).ok());
    Message {
        id: attribute("id").or(id).unwrap_or_default(),
        kind: attribute("type").unwrap_or_default(),
        source: attribute("source").unwrap_or_default(),
        subject: attribute("subject").unwrap_or_default(),
        time: time.map_or(DateTime::UNIX_EPOCH, |time| time.with_timezone(&Utc)),
        traceparent: text("traceparent"),
        body: Bytes::from(body),
    }
}

/// Which delivery this is, counted from 1. Quorum queues count the earlier ones; other queues only
/// say that there was one.
pub(super) fn attempt(properties: &BasicProperties, redelivered: bool) -> u32 {
    let earlier = header(properties, "x-delivery-count").and_then(number);
    let earlier = earlier.unwrap_or_else(|| i64::from(redelivered));
    u32::try_from(earlier).unwrap_or(0).saturating_add(1)
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
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
