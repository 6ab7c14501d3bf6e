//! Which valid addresses applications may not store: Stripe does not publish its rule, and these may be beyond it.

use std::fmt;
use std::str::FromStr;

use super::Email;

/// The kinds of addresses that are rejected; none by default. Addresses that Stripe holds are not subject to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// A dot at either end of the part before the @, or two in a row. Some providers have handed out such addresses,
    /// although RFC 5321 has them only in quotes.
    pub rejects_dots: bool,
    /// A domain in Unicode; the same domain in its `xn--` form is accepted.
    pub rejects_unicode_domains: bool,
}

/// Why an address is rejected. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error(
        "must not have a dot at either end of the part before the @, nor two in a row (EMAIL_REJECT=dots)"
    )]
    Dots,
    #[error(
        "must have its domain in ASCII, that is in the xn-- form (EMAIL_REJECT=unicode-domains)"
    )]
    UnicodeDomain,
}

const DOTS: &str = "dots";
const UNICODE_DOMAINS: &str = "unicode-domains";

impl Policy {
    /// # Errors
    /// The address is of a kind that is rejected.
    pub fn check(self, email: &Email) -> Result<(), Rejection> {
        if self.rejects_dots && has_odd_dots(email.as_given()) {
            return Err(Rejection::Dots);
        }
        if self.rejects_unicode_domains && !email.as_given().is_ascii() {
            return Err(Rejection::UnicodeDomain);
        }
        Ok(())
    }
}

fn has_odd_dots(email: &str) -> bool {
    let local = email.split('@').next().unwrap_or_default();
    local.starts_with('.') || local.ends_with('.') || local.contains("..")
}

impl FromStr for Policy {
    type Err = String;

    /// Kinds, separated by commas; an empty text names none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut policy = Self::default();
        let kinds = text.split(',').map(str::trim);
        for kind in kinds.filter(|kind| !kind.is_empty()) {
            match kind {
                DOTS => policy.rejects_dots = true,
                UNICODE_DOMAINS => policy.rejects_unicode_domains = true,
                _ => return Err(format!("must be {DOTS}, {UNICODE_DOMAINS}, or both")),
            }
        }
        Ok(policy)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.rejects_dots, DOTS),
            (self.rejects_unicode_domains, UNICODE_DOMAINS),
        ];
        let kinds = kinds.into_iter().filter(|(is_rejected, _)| *is_rejected);
        let kinds: Vec<&str> = kinds.map(|(_, kind)| kind).collect();
        f.write_str(&kinds.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_rejects_the_kinds_it_names() {
        let check = |policy: &str, email: &str| {
            let policy: Policy = policy.parse().unwrap();
            policy.check(&Email::parse(email).unwrap())
        };
        for email in [".a@x.io", "a.@x.io", "a..b@x.io", "a@münchen.de"] {
            assert_eq!(check("", email), Ok(()), "{email}");
        }
        for email in [".a@x.io", "a.@x.io", "a..b@x.io"] {
            assert_eq!(check("dots", email), Err(Rejection::Dots), "{email}");
            assert_eq!(check("unicode-domains", email), Ok(()), "{email}");
        }
        let both = "dots, unicode-domains";
        assert_eq!(check("dots", "a@münchen.de"), Ok(()));
        assert_eq!(check(both, "a@münchen.de"), Err(Rejection::UnicodeDomain));
        assert_eq!(check(both, "a.b@xn--mnchen-3ya.de"), Ok(()));
    }

    #[test]
    fn policy_text_is_parsed_and_printed() {
        for text in ["", "dots", "unicode-domains", "dots,unicode-domains"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        let error = "dots,spaces".parse::<Policy>().unwrap_err();
        assert_eq!(error, "must be dots, unicode-domains, or both");
    }
}
