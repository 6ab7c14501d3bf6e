//! Whether Stripe has signed a body: `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>]`, each `v1` the
//! HMAC-SHA256 of `<t>.<body>` under one of the endpoint's secrets. Pure.

use hmac::{Hmac, Mac};
use platform::config::Secret;
use sha2::Sha256;
use subtle::Choice;

/// How far the time of a signature may be from ours, either way, in seconds. It bounds a replay.
const TOLERANCE_SECONDS: i64 = 300;

/// More than Stripe has ever sent; each one costs a hash for each secret.
const MAX_SIGNATURES: usize = 16;

/// The secrets of the endpoints that send to us. Several, so that one can be rolled.
#[derive(Clone, Default)]
pub struct WebhookSecrets(Vec<Secret>);

/// Why a body does not count as Stripe's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

impl WebhookSecrets {
    /// Secrets separated by commas, or in a file also by line ends.
    pub fn parse(text: &Secret) -> Self {
        let secrets = text.expose().split([',', '\n']).map(str::trim);
        Self(
            secrets
                .filter(|secret| !secret.is_empty())
                .map(Secret::new)
                .collect(),
        )
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each has the prefix that Stripe gives every signing secret, and more after it.
    pub(crate) fn have_the_prefix(&self) -> bool {
        let has_it = |secret: &Secret| {
            secret
                .expose()
                .strip_prefix("whsec_")
                .is_some_and(|rest| !rest.is_empty())
        };
        self.0.iter().all(has_it)
    }

    /// Any signature may fit any secret; which one did is not told by the time that this takes.
    pub(super) fn verify(
        &self,
        header: Option<&str>,
        body: &[u8],
        now: i64,
    ) -> Result<(), Refused> {
        let header = header.ok_or(Refused("the header Stripe-Signature is missing"))?;
        let (time, signatures) = read(header).ok_or(Refused(
            "Stripe-Signature must be t=<unix seconds>,v1=<signature>",
        ))?;
        let mut fits = Choice::from(0);
        for secret in &self.0 {
            for signature in &signatures {
                fits |= Choice::from(u8::from(is_signed(secret, time, body, signature)));
            }
        }
        if !bool::from(fits) {
            return Err(Refused("no signature fits any STRIPE_WEBHOOK_SECRET"));
        }
        let seconds: i64 = time.parse().unwrap_or(i64::MIN);
        if now.abs_diff(seconds) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(Refused(
                "the signature was made more than 300 seconds from now; is the clock of this machine right?",
            ));
        }
        Ok(())
    }
}

/// The time as it was written, which is what was signed, and the signatures of the scheme `v1`.
fn read(header: &str) -> Option<(&str, Vec<Vec<u8>>)> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", text)) if time.is_none() => time = Some(text),
            // Which of two was signed nobody could tell.
            Some(("t", _)) => return None,
            // One that is no hex fits nothing; another one may.
            Some(("v1", text)) => signatures.extend(hex::decode(text).ok()),
            _ => {}
        }
    }
    let time = time.filter(|text| text.parse::<i64>().is_ok())?;
    signatures.truncate(MAX_SIGNATURES);
    (!signatures.is_empty()).then_some((time, signatures))
}

fn is_signed(secret: &Secret, time: &str, body: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    // In constant time.
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"{\"a\":1}";
    const AT: i64 = 1_700_000_000;
    /// Of BODY at AT under `whsec_test`, computed with Python's hmac module.
    const SIGNATURE: &str = "38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";

    fn verify(secrets: &str, header: &str, body: &[u8], now: i64) -> Result<(), Refused> {
        WebhookSecrets::parse(&Secret::new(secrets)).verify(Some(header), body, now)
    }

    fn header() -> String {
        format!("t={AT},v1={SIGNATURE}")
    }

    /// A44
    #[test]
    fn any_signature_may_fit_any_secret() {
        let other = "0".repeat(64);
        for header in [
            header(),
            format!("t={AT}, v1={SIGNATURE}"),
            format!("v1={SIGNATURE},t={AT}"),
            format!("t={AT},v1={other},v1={SIGNATURE}"),
            format!("t={AT},v1={SIGNATURE},v1={other},v0=whatever"),
            format!("t={AT},v1=not hex,v1={SIGNATURE},v2"),
        ] {
            for secrets in [
                "whsec_test",
                "whsec_new,whsec_test",
                " whsec_test ,whsec_old\n",
            ] {
                assert_eq!(verify(secrets, &header, BODY, AT), Ok(()), "{header}");
            }
        }
    }

    /// A44
    #[test]
    fn what_is_not_signed_by_stripe_is_refused() {
        let other = "0".repeat(64);
        for header in [
            String::new(),
            "t=,v1=".to_owned(),
            format!("t={AT}"),
            format!("v1={SIGNATURE}"),
            format!("t={AT},v1={other}"),
            format!("t={AT},v0={SIGNATURE}"),
            format!("t={AT},v1={}", &SIGNATURE[..62]),
            format!("t={AT},t={AT},v1={SIGNATURE}"),
            format!("t={},v1={SIGNATURE}", AT + 1),
            format!("t=+{AT},v1={SIGNATURE}"),
            format!("t=99999999999999999999,v1={SIGNATURE}"),
        ] {
            assert!(verify("whsec_test", &header, BODY, AT).is_err(), "{header}");
        }
        assert!(verify("whsec_other", &header(), BODY, AT).is_err());
        // Written anew, it is another body.
        assert!(verify("whsec_test", &header(), b"{ \"a\": 1 }", AT).is_err());
        let none = WebhookSecrets::default().verify(Some(&header()), BODY, AT);
        assert!(none.is_err());
        let secrets = WebhookSecrets::parse(&Secret::new("whsec_test"));
        assert!(secrets.verify(None, BODY, AT).is_err());
    }

    /// A44: stale, or from the future.
    #[test]
    fn a_signature_is_good_for_five_minutes_either_way() {
        for (off, is_good) in [
            (0, true),
            (300, true),
            (-300, true),
            (301, false),
            (-301, false),
        ] {
            let verified = verify("whsec_test", &header(), BODY, AT + off);
            assert_eq!(verified.is_ok(), is_good, "{off}");
        }
    }
}
