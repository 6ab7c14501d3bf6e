//! What went wrong with one request, with all that Stripe said about it: [`crate::outcome`] decides by it.
//!
//! Stripe's own words may quote an e-mail. They are in [`Details::message`] to be shown to a person;
//! `Display` and `Debug` leave them out, so a failure can be logged as it is.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request can't be made: an id or a key that no request can carry. Nothing was sent.
    Unsendable,
    /// No connection: refused, no such host, TLS. Nothing was sent.
    NotSent,
    /// It was sent, or may have been, and no whole answer came: timeout, reset, a body that ends early.
    Unknown,
    /// We gave up before it had an answer, and perhaps before it was sent.
    TimedOut,
    /// It was carried out (2xx), but the answer makes no sense.
    Unparsed,
    /// It was carried out (2xx), and the answer is larger than any that is read.
    TooLarge,
    /// An answer came that belongs to another request: the outcome of this one is unknown.
    Mismatched,
    /// A status other than 2xx, with or without an error in Stripe's form.
    Answered,
}

/// One failed request. A pointer to [`Details`], which it derefs to.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(Box<Details>);

#[derive(Clone, PartialEq, Eq)]
pub struct Details {
    pub kind: FailureKind,
    /// Absent when no answer began.
    pub status: Option<u16>,
    /// `error.type`, such as `invalid_request_error`.
    pub error_type: Option<String>,
    pub code: Option<String>,
    pub param: Option<String>,
    /// Of an [`FailureKind::Answered`]: Stripe's own words, at most 1,000 characters,
    /// safe to show to a person but never to log; empty if the answer was not in Stripe's form.
    /// Of all others: our own words, which quote nothing.
    pub message: String,
    pub request_id: Option<String>,
    /// `Stripe-Should-Retry`.
    pub should_retry: Option<bool>,
    /// `Stripe-Rate-Limited-Reason`.
    pub rate_limited_reason: Option<String>,
    /// `Retry-After`, where it gives seconds; at most five minutes.
    pub retry_after: Option<Duration>,
    /// Of a list that is [`FailureKind::TooLarge`]: the id of its first object, if that could be read.
    pub first_id: Option<String>,
    /// `Idempotent-Replayed`: the answer was saved under our key, and the key will give no other.
    pub replayed: bool,
}

/// In characters.
const LONGEST_MESSAGE: usize = 1_000;
/// Of a code, a parameter or another word, in characters.
const LONGEST_WORD: usize = 100;

impl Failure {
    /// A failure of which nothing more is known.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            status: None,
            error_type: None,
            code: None,
            param: None,
            message: message.into(),
            request_id: None,
            should_retry: None,
            rate_limited_reason: None,
            retry_after: None,
            first_id: None,
            replayed: false,
        }))
    }

    /// Reads the error that an answer's body holds, if it is one of Stripe's: gateways answer with
    /// HTML, with other JSON, or with nothing.
    pub(crate) fn answered(status: u16, body: &[u8]) -> Self {
        let mut failure = Self::new(FailureKind::Answered, "");
        failure.status = Some(status);
        if let Ok(Body { error }) = serde_json::from_slice(body) {
            failure.error_type = word(&error.r#type);
            failure.code = word(&error.code);
            failure.param = word(&error.param);
            failure.message = message(&error.message);
        }
        failure
    }

    /// Whether Stripe has the object in the other mode: the key is one of the wrong mode. Stripe says so in its message
    /// only; the code is that of any missing object.
    pub fn is_of_other_mode(&self) -> bool {
        self.kind == FailureKind::Answered
            && self.code.as_deref() == Some("resource_missing")
            && self.message.contains("a similar object exists in")
    }

    /// Whether Stripe itself refused, and not somebody on the way to it.
    pub fn is_from_stripe(&self) -> bool {
        let answered = self.kind == FailureKind::Answered;
        answered && (self.error_type.is_some() || self.code.is_some() || !self.message.is_empty())
    }
}

#[derive(Deserialize)]
struct Body {
    error: Members,
}

/// Whatever type a member has, it takes nothing from the others.
#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    r#type: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    param: Value,
    #[serde(default)]
    message: Value,
}

/// A code of Stripe's. Anything that does not look like one is no code, and may be somebody's data.
fn word(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let looks_right = (1..=LONGEST_WORD).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    looks_right.then(|| text.to_owned())
}

/// Without NUL, which Postgres can't store.
fn message(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let kept = text.chars().filter(|c| *c != '\0').take(LONGEST_MESSAGE);
    kept.collect()
}

impl Deref for Failure {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FailureKind::Unsendable => write!(f, "making a request to stripe: {}", self.message)?,
            FailureKind::NotSent => write!(f, "connecting to stripe: {}", self.message)?,
            FailureKind::Unknown => write!(f, "waiting for stripe's answer: {}", self.message)?,
            FailureKind::TimedOut => write!(f, "pushing to stripe: {}", self.message)?,
            FailureKind::Unparsed => write!(f, "reading stripe's answer: {}", self.message)?,
            FailureKind::TooLarge => write!(f, "reading stripe's answer: {}", self.message)?,
            FailureKind::Mismatched => write!(
                f,
                "stripe's response does not match the request: {}",
                self.message
            )?,
            FailureKind::Answered => f.write_str("stripe refused")?,
        }
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        if self.kind == FailureKind::Answered && !self.is_from_stripe() {
            f.write_str(" without an error of stripe's")?;
        }
        let words = [
            ("type", &self.error_type),
            ("code", &self.code),
            ("param", &self.param),
            ("limit", &self.rate_limited_reason),
            ("request", &self.request_id),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                write!(f, ", {name} {word}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failure").field(&self.0).finish()
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details")
            .field("kind", &self.kind)
            .field("status", &self.status)
            .field("error_type", &self.error_type)
            .field("code", &self.code)
            .field("param", &self.param)
            .field("request_id", &self.request_id)
            .field("should_retry", &self.should_retry)
            .field("rate_limited_reason", &self.rate_limited_reason)
            .field("retry_after", &self.retry_after)
            .field("replayed", &self.replayed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_stripes_is_read_whole() {
        let body = br#"{"error":{"type":"invalid_request_error","code":"email_invalid","param":"email","message":"Invalid email address: bob","doc_url":"x"}}"#;
        let failure = Failure::answered(400, body);
        assert_eq!(failure.status, Some(400));
        assert_eq!(failure.error_type.as_deref(), Some("invalid_request_error"));
        assert_eq!(failure.code.as_deref(), Some("email_invalid"));
        assert_eq!(failure.param.as_deref(), Some("email"));
        assert_eq!(failure.message, "Invalid email address: bob");
        assert!(failure.is_from_stripe());
    }

    #[test]
    fn an_answer_of_somebody_else_keeps_its_status() {
        let bodies = [
            "",
            "<html>502</html>",
            "null",
            "[]",
            r#"{"error":"nope"}"#,
            r#"{"error":{}}"#,
            r#"{"message":"Forbidden"}"#,
            "{\"error\":",
        ];
        for body in bodies {
            let failure = Failure::answered(502, body.as_bytes());
            assert_eq!(failure.status, Some(502), "{body}");
            assert!(!failure.is_from_stripe(), "{body}");
        }
    }

    #[test]
    fn one_odd_member_takes_nothing_from_the_others() {
        let body = br#"{"error":{"type":7,"code":"bob@x.com","param":null,"message":"a\u0000b"}}"#;
        let failure = Failure::answered(400, body);
        assert_eq!((&failure.error_type, &failure.code), (&None, &None));
        assert_eq!(failure.message, "ab");
    }

    #[test]
    fn no_log_shows_what_stripe_quotes() {
        let body = br#"{"error":{"type":"invalid_request_error","param":"email","message":"Invalid email address: bob@x"}}"#;
        let failure = Failure::answered(400, body);
        let shown = format!(
            "{failure} {failure:?} {:?}",
            anyhow::Error::new(failure.clone())
        );
        assert!(!shown.contains("bob"), "{shown}");
        assert_eq!(
            failure.to_string(),
            "stripe refused, status 400, type invalid_request_error, param email"
        );
    }

    #[test]
    fn object_of_the_other_mode_is_told_from_a_missing_one() {
        let missing = |message: &str| {
            let body = format!(
                r#"{{"error":{{"type":"invalid_request_error","code":"resource_missing","param":"id","message":"{message}"}}}}"#
            );
            Failure::answered(404, body.as_bytes())
        };
        let text = "No such customer: 'cus_1'; a similar object exists in test mode, but a live mode key was used to make this request.";
        assert!(missing(text).is_of_other_mode());
        assert!(!missing("No such customer: 'cus_1'").is_of_other_mode());
        assert!(
            !Failure::answered(404, b"a similar object exists in test mode").is_of_other_mode()
        );
    }

    #[test]
    fn an_endless_message_is_cut() {
        let body = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(5_000));
        let failure = Failure::answered(400, body.as_bytes());
        assert_eq!(failure.message.chars().count(), LONGEST_MESSAGE);
    }
}
