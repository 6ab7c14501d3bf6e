//! Refusals in the shape of Stripe's error bodies. Wordings follow Stripe's where they are known, because
//! people search for them; programs must go by `type`, `code` and `param`.

use serde::Serialize;

/// One refusal: an HTTP status and the members of Stripe's error body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stripe sandbox refused with {status}: {message}")]
pub struct Error {
    pub status: u16,
    /// `invalid_request_error`, `idempotency_error`, `api_error`, …
    pub kind: &'static str,
    pub code: Option<&'static str>,
    pub message: String,
    pub param: Option<String>,
}

impl Error {
    pub(crate) fn invalid(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
        }
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// A bad value of one parameter.
    pub(crate) fn bad(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(400, message).param(param)
    }

    /// The object that the URL names does not exist, or no longer.
    pub(crate) fn no_such(what: &str, id: &str) -> Self {
        Self::invalid(404, format!("No such {what}: '{id}'"))
            .code("resource_missing")
            .param("id")
    }

    pub(crate) fn rate_limited() -> Self {
        let message = "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits.";
        Self::invalid(429, message).code("rate_limit")
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::invalid(500, message).kind("api_error")
    }

    /// Stripe's body for this refusal of the request `request_id`.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let body = Body {
            error: Members {
                code: self.code,
                doc_url: self.code.map(|code| {
                    format!(
                        "https://stripe.com/docs/error-codes/{}",
                        code.replace('_', "-")
                    )
                }),
                message: &self.message,
                param: self.param.as_deref(),
                request_log_url: format!("https://dashboard.stripe.com/test/logs/{request_id}"),
                kind: self.kind,
            },
        };
        serde_json::to_vec_pretty(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: Members<'a>,
}

#[derive(Serialize)]
struct Members<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc_url: Option<String>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    request_log_url: String,
    #[serde(rename = "type")]
    kind: &'static str,
}
