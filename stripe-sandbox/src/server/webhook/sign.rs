//! The `Stripe-Signature` header: `t=<unix>,v1=<hex>`, with one `v1` for each secret that is alive.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Signs `body` at the second `now` with every one of `secrets`.
pub(crate) fn header(secrets: &[&str], now: i64, body: &str) -> String {
    let mut header = format!("t={now}");
    for secret in secrets {
        header.push_str(",v1=");
        header.push_str(&signature(secret, now, body));
    }
    header
}

fn signature(secret: &str, now: i64, body: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(now.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolled_secret_adds_a_second_signature() {
        let header = header(&["whsec_new", "whsec_old"], 1_700_000_000, "{}");
        assert!(header.starts_with("t=1700000000,v1="));
        assert_eq!(header.matches("v1=").count(), 2);
    }

    #[test]
    fn the_signature_is_hmac_sha256_over_time_and_body() {
        // Computed with Python's hmac module.
        assert_eq!(
            signature("whsec_test", 1_700_000_000, "{\"a\":1}"),
            "38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789"
        );
    }
}
