//! JSON whose texts hold what no text can: bytes that are no UTF-8, or half a surrogate pair. Pure.

/// The JSON with an escaped NUL in place of each. The API refuses a NUL, and canonical values of Stripe's drop it.
pub fn with_nuls(json: &[u8]) -> String {
    let mut text = String::with_capacity(json.len());
    for chunk in json.utf8_chunks() {
        text.push_str(chunk.valid());
        if chunk.invalid().is_empty() {
            continue;
        }
        // Behind a backslash it would be no escape.
        if text.ends_with('\\') {
            text.push(' ');
        }
        text.push_str("\\u0000");
    }
    without_halves(&text)
}

/// The text with `\u0000` in place of each escape that is half a surrogate pair.
fn without_halves(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        kept.push_str(before);
        let (taken, length) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&escape[..12], 12),
            (Some(0xd800..=0xdfff), _) => ("\\u0000", 6),
            // The character behind it belongs to it, whatever it is.
            _ => {
                let length = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
                (&escape[..length], length)
            }
        };
        kept.push_str(taken);
        rest = &escape[length..];
    }
    kept.push_str(rest);
    kept
}

/// The UTF-16 unit of an escape `\uXXXX` that the text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_text_can_hold_becomes_nul_and_the_rest_stays() {
        let cases: [(&[u8], &str); 9] = [
            (b"a\\\xff", r"a\ \u0000"),
            (b"", ""),
            (br#"{"a":"x"}"#, r#"{"a":"x"}"#),
            (br"\ud83d\ude00\u00e9", r"\ud83d\ude00\u00e9"),
            (br"\ud83d", r"\u0000"),
            (br"\ude00\ud83d\u0041", r"\u0000\u0000\u0041"),
            (br"\\ud83d\", r"\\ud83d\"),
            (b"\xffa\xc3\xa9", "\\u0000a\u{e9}"),
            (br"\uD8", r"\uD8"),
        ];
        for (json, expected) in cases {
            assert_eq!(with_nuls(json), expected);
        }
    }
}
