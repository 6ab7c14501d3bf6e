//! The e-mail address as a key: what is accepted, and its normal form.
//!
//! What is accepted here is a subset of what Stripe accepts, so that a stored customer is never
//! refused there for its address: ASCII, one `@`, a dot in the domain, no spaces, at most 512
//! characters. An internationalised domain is given in its `xn--` form.

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
    #[error("must be ASCII; give an internationalised domain in its xn-- form")]
    NotAscii,
    #[error("must not contain spaces or control characters")]
    Space,
    #[error("must have exactly one @ with text on both sides")]
    At,
    #[error("must not have a dot at either end of the part before the @, nor two in a row")]
    LocalPart,
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
        if !text.is_ascii() {
            return Err(Error::NotAscii);
        }
        if text
            .chars()
            .any(|c| c.is_ascii_whitespace() || c.is_ascii_control())
        {
            return Err(Error::Space);
        }
        let (local, domain) = text.split_once('@').ok_or(Error::At)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(Error::At);
        }
        check_local(local)?;
        check_domain(domain)?;
        Ok(Self {
            as_given: text.to_owned(),
            key: text.to_ascii_lowercase(),
        })
    }

    /// The address as it was given, trimmed; what people and Stripe are shown.
    pub fn as_given(&self) -> &str {
        &self.as_given
    }

    /// The normal form: lower case. Two addresses name the same customer when their keys are equal.
    /// Plus-tags and dots are kept: only the mailbox's owner knows what they mean.
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn check_local(local: &str) -> Result<(), Error> {
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err(Error::LocalPart);
    }
    // RFC 5322's atext; quoted local parts are valid mail but refused by Stripe.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if local.chars().all(allowed) {
        Ok(())
    } else {
        Err(Error::LocalCharacter)
    }
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
            ("bob＠x.com", Error::NotAscii),
            ("bob@münchen.de", Error::NotAscii),
            (".bob@x.com", Error::LocalPart),
            ("b..ob@x.com", Error::LocalPart),
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

    proptest! {
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
