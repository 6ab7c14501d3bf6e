//! The headers that protect a browser's user, on every response.

use poem::Response;
use poem::http::HeaderValue;
use poem::http::header::{self, HeaderName};

/// What a response has if its endpoint set nothing else: it is no page, is not stored, and is not shown or read by
/// another site.
const DEFAULTS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With no-referrer a page's own forms would be sent with the origin null.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds those headers that the response does not have.
pub fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in DEFAULTS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_may_set_its_own_policy() {
        let mut response = Response::builder()
            .header("content-security-policy", "default-src 'self'")
            .finish();
        secure(&mut response);
        let headers = response.headers();
        assert_eq!(headers["content-security-policy"], "default-src 'self'");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-frame-options"], "DENY");
    }
}
