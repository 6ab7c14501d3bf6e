//! The e-mail address as a key: what is accepted, and its normal form.
//!
//! Accepted is ASCII before the one `@`, a domain name with a dot, in Unicode or in its `xn--` form, no spaces, and at
//! most 512 characters. [`Policy`] narrows that for applications. Stripe's own rule is not published; an address beyond
//! it is rejected by Stripe, and the customer is parked.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

pub use policy::{Policy, Rejection};

mod policy;

/// The longest address that Stripe keeps, in characters.
pub const MAX_CHARS: usize = 512;

/// A valid address, kept as it was given beside its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    as_given: String,
    key: String,
}

/// Why a text is no acceptable address. Never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {MAX_CHARS} characters")]
    TooLong,
    #[error("must be ASCII before the @")]
    NotAscii,
    #[error("must not contain spaces, control or invisible characters")]
    Space,
    #[error("must have exactly one @ with text on both sides")]
    At,
    #[error("contains a character that is not allowed before the @")]
    LocalCharacter,
    #[error("must have a domain of letters, digits and hyphens with at least one dot")]
    Domain,
}

impl Email {
    /// Accepts an address after trimming white space around it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.chars().count() > MAX_CHARS {
            return Err(Error::TooLong);
        }
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || is_invisible(c))
        {
            return Err(Error::Space);
        }
        let (local, domain) = text.split_once('@').ok_or(Error::At)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(Error::At);
        }
        check_local(local)?;
        let key = format!("{}@{}", local.to_ascii_lowercase(), ascii_domain(domain)?);
        // Stripe is asked for it in this form, too.
        if key.len() > MAX_CHARS {
            return Err(Error::TooLong);
        }
        Ok(Self {
            as_given: text.to_owned(),
            key,
        })
    }

    /// The address as it was given, trimmed; what people and Stripe are shown.
    pub fn as_given(&self) -> &str {
        &self.as_given
    }

    /// The normal form: lower case, and the domain in ASCII. Two addresses name the same customer when their keys are
    /// equal. Plus-tags and dots are kept: only the mailbox's owner knows what they mean.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The forms that Stripe may hold this address in, the given one first: Stripe compares addresses exactly.
    pub fn spellings(&self) -> Vec<String> {
        let mut spellings = vec![self.as_given.clone()];
        let mut add = |spelling: String| {
            if !spellings.contains(&spelling) {
                spellings.push(spelling);
            }
        };
        add(self.key.clone());
        let local = |email: &str| email.split('@').next().unwrap_or_default().to_owned();
        let domain = self.key.rsplit('@').next().unwrap_or_default();
        let (unicode, decoded) = idna::domain_to_unicode(domain);
        if decoded.is_ok() && unicode != domain {
            for local in [local(&self.as_given), local(&self.key)] {
                add(format!("{local}@{domain}"));
                add(format!("{local}@{unicode}"));
            }
        }
        spellings
    }
}

/// The normal form of a text that may be no valid address: for comparisons only.
pub fn normal_form(text: &str) -> String {
    Email::parse(text).map_or_else(|_| text.trim().to_lowercase(), |email| email.key)
}

fn check_local(local: &str) -> Result<(), Error> {
    if !local.is_ascii() {
        return Err(Error::NotAscii);
    }
    // RFC 5322's atext and dots wherever they are; quoted local parts are valid mail but refused by Stripe.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if local.chars().all(allowed) {
        Ok(())
    } else {
        Err(Error::LocalCharacter)
    }
}

/// Characters that the mapping of UTS 46 drops: two addresses with one key would look alike and be compared apart.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// The domain in ASCII and in lower case. One that is ASCII already is never decoded, so that no address of an older
/// version gets another key, or becomes invalid.
fn ascii_domain(domain: &str) -> Result<String, Error> {
    let ascii = if domain.is_ascii() {
        domain.to_ascii_lowercase()
    } else {
        let ascii = Uts46::new().to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Ignore,
        );
        ascii.map_err(|_| Error::Domain)?.into_owned()
    };
    check_domain(&ascii)?;
    Ok(ascii)
}

fn check_domain(domain: &str) -> Result<(), Error> {
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if domain.contains('.') && domain.split('.').all(label_is_valid) {
        Ok(())
    } else {
        Err(Error::Domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_is_lower_case_and_the_given_form_is_kept() {
        let email = Email::parse("  Bob.Smith+Tag@Example.COM \n").unwrap();
        assert_eq!(email.as_given(), "Bob.Smith+Tag@Example.COM");
        assert_eq!(email.key(), "bob.smith+tag@example.com");
    }

    #[test]
    fn what_stripe_refuses_is_refused_here() {
        let cases = [
            ("", Error::Empty),
            ("   ", Error::Empty),
            ("bob", Error::At),
            ("@x.com", Error::At),
            ("bob@", Error::At),
            ("a@b@x.com", Error::At),
            ("bob@localhost", Error::Domain),
            ("bob@x..com", Error::Domain),
            ("bob@-x.com", Error::Domain),
            ("bob@x.com.", Error::Domain),
            ("bo b@x.com", Error::Space),
            ("bob@x\u{0}.com", Error::Space),
            ("bob@mün\u{ad}chen.de", Error::Space),
            ("bob@mün\u{a0}chen.de", Error::Space),
            ("bob＠x.com", Error::At),
            ("bob@x＠ü.com", Error::Domain),
            ("bob@münchen", Error::Domain),
            ("bob@-münchen.de", Error::Domain),
            ("bob@mün_chen.de", Error::Domain),
            ("bob@münchen..de", Error::Domain),
            ("jörg@x.com", Error::NotAscii),
            ("\"bob\"@x.com", Error::LocalCharacter),
            ("bob,al@x.com", Error::LocalCharacter),
        ];
        for (text, expected) in cases {
            assert_eq!(Email::parse(text), Err(expected), "{text:?}");
        }
        let long = format!("{}@x.com", "a".repeat(MAX_CHARS));
        assert_eq!(Email::parse(&long), Err(Error::TooLong));
    }

    #[test]
    fn punycode_tags_and_quotes_are_accepted() {
        for text in [
            "bob@xn--mnchen-3ya.de",
            "o'hara+x=1@a.b.c.example",
            "a@1.io",
        ] {
            Email::parse(text).unwrap();
        }
    }

    #[test]
    fn dots_are_accepted_wherever_they_are() {
        for text in [".bob@x.com", "bob.@x.com", "b..ob@x.com"] {
            assert_eq!(Email::parse(text).unwrap().key(), text);
        }
    }

    #[test]
    fn forms_of_one_domain_have_one_key() {
        for text in [
            "Bob@münchen.de",
            "bob@MÜNCHEN.de",
            "bob@mu\u{308}nchen.de",
            "bob@münchen。de",
            "bob@xn--mnchen-3ya.de",
            "bob@XN--mnchen-3YA.de",
        ] {
            let email = Email::parse(text).unwrap();
            assert_eq!(email.key(), "bob@xn--mnchen-3ya.de", "{text}");
            assert_eq!(email.as_given(), text);
        }
        // No address of an older version changes its key.
        let undecodable = Email::parse("Bob@xn--\u{61}.example").unwrap();
        assert_eq!(undecodable.key(), "bob@xn--a.example");
    }

    #[test]
    fn spellings_are_the_forms_that_stripe_may_hold() {
        let spellings = |text| Email::parse(text).unwrap().spellings();
        assert_eq!(spellings("bob@x.io"), ["bob@x.io"]);
        assert_eq!(spellings("Bob@x.io"), ["Bob@x.io", "bob@x.io"]);
        let [unicode, ascii] = ["bob@münchen.de", "bob@xn--mnchen-3ya.de"];
        assert_eq!(spellings(unicode), [unicode, ascii]);
        assert_eq!(spellings(ascii), [ascii, unicode]);
        let mixed = ["Bob@xn--mnchen-3ya.de", "Bob@münchen.de"];
        let all = [mixed[1], ascii, mixed[0], unicode];
        assert_eq!(spellings("Bob@münchen.de"), all);
        assert_eq!(spellings("a@xn--a.io"), ["a@xn--a.io"]);
    }

    #[test]
    fn normal_form_compares_texts_that_are_no_addresses() {
        assert_eq!(normal_form(" Bob@MÜNCHEN.de"), "bob@xn--mnchen-3ya.de");
        assert_eq!(normal_form(" No Address"), "no address");
    }

    proptest! {
        #[test]
        fn spellings_of_an_address_have_its_key(domain in "[a-zäöüß。.é-]{1,20}") {
            if let Ok(email) = Email::parse(&format!("Bob@{domain}.example")) {
                for spelling in email.spellings() {
                    let other = Email::parse(&spelling).unwrap();
                    prop_assert_eq!(other.key(), email.key());
                }
            }
        }

        #[test]
        fn no_text_panics_and_what_is_accepted_is_stable(text in ".{0,600}") {
            if let Ok(email) = Email::parse(&text) {
                let again = Email::parse(email.as_given()).unwrap();
                prop_assert_eq!(&again, &email);
                let normal = Email::parse(email.key()).unwrap();
                prop_assert_eq!(normal.key(), email.key());
            }
        }
    }
}
