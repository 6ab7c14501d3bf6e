//! Takes secrets out of a text that quotes what a person typed: an argument in the wrong place, a value of the wrong
//! variable.

use std::io::Write;

/// What API keys and webhook secrets begin with.
const PREFIXES: [&str; 5] = ["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"];

const HIDDEN: &str = "***";

/// The text without the user and password of a URL, and without keys.
pub fn redact(text: &str) -> String {
    let mut kept: Vec<String> = text.split('\n').map(without_user).collect();
    for line in &mut kept {
        for prefix in PREFIXES {
            *line = without_key(line, prefix);
        }
    }
    kept.join("\n")
}

/// Ends the process as clap does, with an error that repeats no secret.
pub fn exit(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let _ = write!(std::io::stderr(), "{}", redact(&error.to_string()));
    std::process::exit(error.exit_code())
}

/// All between `://` and the last `@`: a password may hold any character.
fn without_user(line: &str) -> String {
    let Some((scheme, rest)) = line.split_once("://") else {
        return line.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}"),
        None => line.to_owned(),
    }
}

fn without_key(line: &str, prefix: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
    let mut parts = line.split(prefix);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(prefix);
        kept.push_str(HIDDEN);
        kept.push_str(part.trim_start_matches(is_part));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        for (text, expected) in [
            (
                "error: unexpected argument 'postgres://app:hun@t:e/r2@db/app' found\nUsage: api",
                "error: unexpected argument 'postgres://***@db/app' found\nUsage: api",
            ),
            (
                "invalid value 'sk_live_hunter2' for '--api-listen <ADDR>'",
                "invalid value 'sk_live_***' for '--api-listen <ADDR>'",
            ),
            (
                "whsec_hunter2+/= and rk_test_hunter2.",
                "whsec_*** and rk_test_***.",
            ),
            (
                "see https://docs.example.com/keys",
                "see https://docs.example.com/keys",
            ),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
