//! The id of a request: the caller's, if it is a sane one, so that one id runs through both logs; else a fresh one.

use poem::Request;
use uuid::Uuid;

const MAX_CHARS: usize = 128;

pub(super) fn of(request: &Request) -> String {
    request
        .header(super::REQUEST_ID)
        .filter(|text| is_sane(text))
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// Nothing that could forge a log line, and no e-mail.
fn is_sane(text: &str) -> bool {
    (1..=MAX_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_sane;

    #[test]
    fn only_short_plain_tokens_are_taken_over() {
        for sane in [
            "a",
            "0199d8a2-6f3e-7c11",
            "Root=1-67:x/y.z+w",
            &"x".repeat(128),
        ] {
            assert!(is_sane(sane), "{sane}");
        }
        for other in [
            "",
            "a b",
            "a\nb",
            "bob@example.com",
            "é",
            "\"",
            &"x".repeat(129),
        ] {
            assert!(!is_sane(other), "{other}");
        }
    }
}
