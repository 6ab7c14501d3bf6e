//! Customers from JSON lines: an object in each.

use std::io::{self, BufRead};

use entity::fields::Field;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::lines::{Lines, is_blank, too_long};
use super::record::{Line, Record};

/// A member that is absent is not given; null and an empty text clear.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    email: String,
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    phone: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "stripe_id")]
    _stripe_id: IgnoredAny,
    #[serde(default, rename = "rev")]
    _rev: IgnoredAny,
    #[serde(default, rename = "updated_at")]
    _updated_at: IgnoredAny,
}

fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// The next line that is not blank.
pub(super) fn next(lines: &mut Lines<impl BufRead>) -> io::Result<Option<Line>> {
    while let Some(line) = lines.next()? {
        let record = match &line.bytes {
            None => Err(too_long()),
            Some(bytes) if is_blank(bytes) => continue,
            Some(bytes) => record(bytes),
        };
        let number = line.number;
        return Ok(Some(Line { number, record }));
    }
    Ok(None)
}

fn record(bytes: &[u8]) -> Result<Record, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    // The parser's own words may quote a value.
    let members: Members = serde_json::from_str(text).map_err(|error| {
        let column = error.column();
        if error.is_data() {
            format!(
                "must be an object with email, and if need be name, phone and description, each a text (column {column})"
            )
        } else {
            format!("is not JSON from column {column} on")
        }
    })?;
    let all = [
        (Field::Name, members.name),
        (Field::Phone, members.phone),
        (Field::Description, members.description),
    ];
    let given = all
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)));
    Record::of(&members.email, given.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_not_given_and_null_clears() {
        let read = record(br#"{"email": "a@x.io", "name": null, "phone": "1", "rev": 7}"#);
        let given = vec![(Field::Name, None), (Field::Phone, Some("1".to_owned()))];
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
            let reason = record(text.as_bytes()).unwrap_err();
            assert!(!reason.contains("secret"), "{text}: {reason}");
        }
        assert_eq!(record(b"\xff"), Err("is not UTF-8".to_owned()));
    }
}
