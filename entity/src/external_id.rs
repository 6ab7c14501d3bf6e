//! The id that an application has for a customer: any text, compared as it is, unique among living customers.

use serde::Serialize;

use crate::fields::canonical;

/// In characters. Stripe's metadata holds 500.
pub const MAX_CHARS: usize = 255;

/// An id that may be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalId(String);

/// Never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("must have at most {MAX_CHARS} characters")]
    TooLong,
    #[error("must not contain control characters")]
    Control,
}

impl ExternalId {
    /// The id in a text, without space around it; none in an empty text.
    ///
    /// # Errors
    /// It is too long, or has a control character.
    pub fn parse(text: &str) -> Result<Option<Self>, Error> {
        let Some(id) = canonical(text) else {
            return Ok(None);
        };
        if text.trim().chars().any(char::is_control) {
            return Err(Error::Control);
        }
        if id.chars().count() > MAX_CHARS {
            return Err(Error::TooLong);
        }
        Ok(Some(Self(id)))
    }

    /// One that was checked when it was stored.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_around_an_id_is_dropped_and_case_is_kept() {
        let id = |text: &str| {
            ExternalId::parse(text)
                .unwrap()
                .map(ExternalId::into_string)
        };
        assert_eq!(id(" User 42\n").as_deref(), Some("User 42"));
        assert_eq!(id("ü-é").as_deref(), Some("ü-é"));
        assert_eq!(id(" "), None);
        assert_eq!(
            id(&"é".repeat(MAX_CHARS)).unwrap().chars().count(),
            MAX_CHARS
        );
    }

    #[test]
    fn long_ids_and_control_characters_are_rejected() {
        assert_eq!(
            ExternalId::parse(&"é".repeat(MAX_CHARS + 1)),
            Err(Error::TooLong)
        );
        for text in ["a\0b", "a\nb", "a\u{85}b"] {
            assert_eq!(ExternalId::parse(text), Err(Error::Control), "{text:?}");
        }
    }
}
