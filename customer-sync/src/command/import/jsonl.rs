//! Customers from JSON lines: an object in each.

use std::collections::HashMap;
use std::io::{self, BufRead};

use entity::fields::{Field, Member};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::lines::{Lines, is_blank, too_long};
use super::record::{Line, Record};
use super::source::Encoding;

/// A member that is absent is not given; null and an empty text clear.
#[derive(Deserialize)]
struct Members {
    email: String,
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    phone: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    external_id: Option<Option<String>>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "stripe_id")]
    _stripe_id: IgnoredAny,
    #[serde(default, rename = "rev")]
    _rev: IgnoredAny,
    #[serde(default, rename = "updated_at")]
    _updated_at: IgnoredAny,
    #[serde(flatten)]
    unknown: HashMap<String, IgnoredAny>,
}

/// How lines are read.
pub(super) struct Jsonl {
    pub(super) encoding: Encoding,
    pub(super) ignores_unknown: bool,
}

fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Jsonl {
    /// The next line that is not blank.
    pub(super) fn next(&self, lines: &mut Lines<impl BufRead>) -> io::Result<Option<Line>> {
        while let Some(line) = lines.next()? {
            let record = match &line.bytes {
                None => Err(too_long()),
                Some(bytes) if is_blank(bytes) => continue,
                Some(bytes) => self.record(bytes),
            };
            let number = line.number;
            return Ok(Some(Line { number, record }));
        }
        Ok(None)
    }

    fn record(&self, bytes: &[u8]) -> Result<Record, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| self.encoding.is_not())?;
        let members = members(text)?;
        if !self.ignores_unknown && !members.unknown.is_empty() {
            return Err(
                "has a member that is none of email, name, phone, description, external_id, id, stripe_id, rev and updated_at; \
                 --ignore-unknown ignores it"
                    .to_owned(),
            );
        }
        let all = [
            (Field::Name.into(), members.name),
            (Field::Phone.into(), members.phone),
            (Field::Description.into(), members.description),
            (Member::ExternalId, members.external_id),
        ];
        let given = all
            .into_iter()
            .filter_map(|(member, value)| Some((member, value?)));
        Record::of(&members.email, given.collect())
    }
}

fn members(text: &str) -> Result<Members, String> {
    // The parser's own words may quote a value.
    serde_json::from_str(text).map_err(|error| {
        let column = error.column();
        if error.is_data() {
            format!(
                "must be an object with email, and if need be name, phone, description and external_id, each a text (column {column})"
            )
        } else {
            format!("is not JSON from column {column} on")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Jsonl = Jsonl {
        encoding: Encoding::Utf8,
        ignores_unknown: false,
    };

    #[test]
    fn unknown_members_are_ignored_on_request() {
        let text = br#"{"email": "a@x.io", "nickname": {"a": [1]}}"#;
        let lenient = Jsonl {
            ignores_unknown: true,
            ..STRICT
        };
        assert_eq!(lenient.record(text), Record::of("a@x.io", Vec::new()));
        let error = STRICT.record(text).unwrap_err();
        assert!(error.contains("--ignore-unknown"), "{error}");
    }

    #[test]
    fn what_is_absent_is_not_given_and_null_clears() {
        let read = STRICT.record(br#"{"email": "a@x.io", "name": null, "phone": "1", "rev": 7}"#);
        let given = vec![
            (Field::Name.into(), None),
            (Field::Phone.into(), Some("1".to_owned())),
        ];
        assert_eq!(read, Record::of("a@x.io", given));
    }

    #[test]
    fn what_is_no_customer_is_refused_and_never_quoted() {
        for text in [
            "secret",
            "[\"secret\"]",
            "{\"email\": {\"secret\": 1}}",
            "{\"email\": \"a@x.io\", \"secret\": 1}",
            "{\"email\": \"a@x.io\", \"name\": 7}",
            "{\"email\": \"a@x.io\", \"email\": \"secret@x.io\"}",
            "{\"name\": \"secret\"}",
            "{\"email\": \"secret\"}",
            "{\"email\": \"secret",
        ] {
            let reason = STRICT.record(text.as_bytes()).unwrap_err();
            assert!(!reason.contains("secret"), "{text}: {reason}");
        }
        assert!(
            STRICT
                .record(b"\xff")
                .unwrap_err()
                .starts_with("is not UTF-8")
        );
    }
}
