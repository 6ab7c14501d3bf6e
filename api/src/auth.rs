//! API keys: everything below /api wants one, as `Authorization: Bearer`, once there are any.

use platform::config::Secret;
use platform::telemetry;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::problem::{Code, Problem};
use crate::query;
use crate::request::RequestId;

/// The digests of the keys that are let in; without any, everybody is. Not to be printed: a weak key is found from its
/// digest.
#[derive(Clone, Default)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Nobody needs a key.
    pub fn none() -> Self {
        Self::default()
    }

    /// Keys separated by commas, or in a file also by line ends.
    pub fn parse(text: &Secret) -> Self {
        let keys = text.expose().split([',', '\n']).map(str::trim);
        Self(keys.filter(|key| !key.is_empty()).map(digest).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the same time for every wrong key: digests are compared, each one to its end.
    pub(crate) fn admit(&self, authorization: Option<&str>) -> Result<(), Problem> {
        if self.is_empty() {
            return Ok(());
        }
        let unauthorized = |detail| Problem::new(Code::Unauthorized, detail);
        let token = authorization
            .and_then(bearer)
            .ok_or_else(|| unauthorized("send an API key as Authorization: Bearer <key>"))?;
        let given = digest(token);
        let found = self
            .0
            .iter()
            .fold(Choice::from(0), |found, key| found | key.ct_eq(&given));
        if bool::from(found) {
            Ok(())
        } else {
            Err(unauthorized("this API key is not one of ours"))
        }
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

/// Whoever calls an operation: somebody past the gate, so that the spec shows the lock, and in some trace.
pub(crate) struct Caller {
    /// The W3C trace context of what this request does.
    pub(crate) traceparent: String,
    pub(crate) request_id: String,
}

const SCHEME: &str = "apiKey";

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "http",
            description: Some(
                "One of API_KEYS. A service that has none and listens on loopback only lets everybody in.",
            ),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(SCHEME, scheme);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        query::check(request)?;
        let traceparent = telemetry::traceparent_child(request.header("traceparent"));
        let request_id = request.data::<RequestId>();
        Ok(Self {
            traceparent,
            request_id: request_id.map(|id| id.0.clone()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_configured_key_is_admitted() {
        let keys = Keys::parse(&Secret::new(" first-key, second-key,\n,third-key\n"));
        for good in [
            "Bearer first-key",
            "bearer second-key",
            "BEARER  third-key ",
        ] {
            keys.admit(Some(good)).unwrap();
        }
        let bad = [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer first-key,"),
            Some("Bearer first"),
            Some("Basic first-key"),
            Some("first-key"),
        ];
        for bad in bad {
            assert_eq!(
                keys.admit(bad).unwrap_err().code,
                Code::Unauthorized,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn without_keys_everybody_is_admitted() {
        Keys::none().admit(None).unwrap();
        assert!(Keys::parse(&Secret::new(" , \n")).is_empty());
    }
}
