//! What is between the columns of a CSV file: detected from its first line, unless it is given.

use std::fmt;
use std::str::FromStr;

/// One ASCII character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Separator(u8);

impl Separator {
    pub(super) const COMMA: Self = Self(b',');

    const DETECTED: [Self; 3] = [Self::COMMA, Self(b';'), Self(b'\t')];

    pub(super) fn byte(self) -> u8 {
        self.0
    }

    /// Those that a first line may have, the most frequent one first.
    pub(super) fn candidates(line: &[u8]) -> Vec<Self> {
        let mut found = Self::DETECTED.map(|separator| (separator.count_in(line), separator));
        found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let present = found.into_iter().filter(|(count, _)| *count > 0);
        present.map(|(_, separator)| separator).collect()
    }

    /// How often it stands outside of quotes.
    fn count_in(self, line: &[u8]) -> usize {
        let mut is_quoted = false;
        let mut count = 0;
        for byte in line {
            is_quoted ^= *byte == b'"';
            count += usize::from(*byte == self.0 && !is_quoted);
        }
        count
    }

    /// That of a line like `sep=;`, which spreadsheet programs write before the names.
    pub(super) fn of_declaration(line: &[u8]) -> Option<Self> {
        let line = line.trim_ascii_start();
        let line = line.strip_prefix(b"\"").unwrap_or(line);
        let (name, rest) = line.split_at_checked(4)?;
        if !name.eq_ignore_ascii_case(b"sep=") {
            return None;
        }
        let (separator, rest) = rest.split_first()?;
        let is_whole = rest.iter().all(|byte| b"\"\r\n,;\t ".contains(byte));
        Self::of(*separator).filter(|_| is_whole)
    }

    fn of(byte: u8) -> Option<Self> {
        let is_usable = byte == b'\t' || byte == b' ' || byte.is_ascii_punctuation();
        (is_usable && byte != b'"').then_some(Self(byte))
    }
}

impl FromStr for Separator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let byte = match (text, text.as_bytes()) {
            ("comma", _) => b',',
            ("semicolon", _) => b';',
            ("tab" | "\\t", _) => b'\t',
            ("pipe", _) => b'|',
            (_, [byte]) => *byte,
            _ => b'"',
        };
        Self::of(byte).ok_or_else(|| {
            "must be comma, semicolon, tab, pipe, or another ASCII punctuation character".to_owned()
        })
    }
}

/// Reads well after "separated by".
impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b',' => f.write_str("commas"),
            b';' => f.write_str("semicolons"),
            b'\t' => f.write_str("tabs"),
            other => write!(f, "{:?}", char::from(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_frequent_separator_outside_quotes_is_the_first() {
        let candidates = |line: &str| -> String {
            let found = Separator::candidates(line.as_bytes()).into_iter();
            found.map(|one| char::from(one.byte())).collect()
        };
        assert_eq!(candidates("email"), "");
        assert_eq!(candidates("email;name, first;phone\r\n"), ";,");
        assert_eq!(candidates("\"a,b,c\"\temail"), "\t");
        assert_eq!(candidates("email,name;phone"), ",;");
    }

    #[test]
    fn declaration_names_the_separator() {
        let of = |line: &str| Separator::of_declaration(line.as_bytes()).map(Separator::byte);
        assert_eq!(of("sep=,\r\n"), Some(b','));
        assert_eq!(of("SEP=;\n"), Some(b';'));
        assert_eq!(of("\"sep=\t\"\n"), Some(b'\t'));
        assert_eq!(of("sep=;;;\n"), Some(b';'));
        for other in ["sep=", "sep=\n", "sep=x\n", "separator\n", "sep=,name\n"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn separator_is_given_by_name_or_character() {
        for (text, byte) in [
            ("comma", b','),
            (";", b';'),
            ("tab", b'\t'),
            ("\t", b'\t'),
            ("|", b'|'),
        ] {
            assert_eq!(text.parse(), Ok(Separator(byte)));
        }
        for text in ["", "\"", "x", "ab", "ü", "\n"] {
            assert!(text.parse::<Separator>().is_err(), "{text:?}");
        }
    }
}
