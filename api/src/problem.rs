//! Every refusal of the API: problem+json (RFC 9457) with a stable code, and never an internal text.

mod documented;
mod foreign;

use std::borrow::Cow;
use std::error::Error;

use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use sea_orm::DbErr;
use serde::Serialize;

pub(crate) use documented::{BODY, Documented, KEYED, Listed, Refusal, TAGGED};

/// Why a request was refused. Codes are never renamed: clients compare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ProblemCode", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// A member, parameter or header has a value that can't be accepted; `field` names it.
    ValidationFailed,
    /// The body is no JSON.
    MalformedJson,
    /// The request is not one that can be read; `field` names the header, if it was one.
    MalformedRequest,
    /// Nothing is there.
    NotFound,
    /// Changes behind this cursor are not kept any more, or the database was restored.
    CursorExpired,
    /// Another customer has this e-mail.
    EmailTaken,
    /// Another customer has this `external_id`.
    ExternalIdTaken,
    /// It was decided before, for the other side.
    AlreadyDecided,
    /// The value that the decision is about is not the present one any more.
    Outdated,
    /// Not with this one; `detail` says what is possible.
    NotPossible,
    /// The customer is linked to a Stripe customer already.
    AlreadyLinked,
    /// The Idempotency-Key came with another request before.
    IdempotencyKeyReused,
    /// The customer is not, or no longer, in the state that If-Match names.
    PreconditionFailed,
    /// The body is larger than 64 KiB, or than 512 KiB where it has many customers.
    PayloadTooLarge,
    /// The body is not sent as JSON.
    UnsupportedMediaType,
    /// The path does not know this method.
    MethodNotAllowed,
    /// No API key, or not one of ours.
    Unauthorized,
    /// The Host header names no host of this server; API_HOSTS adds some.
    HostNotAllowed,
    /// A page of another site sent this request through a browser.
    CrossSite,
    /// The body is not signed by Stripe with a secret that we know, or not just now.
    InvalidSignature,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The database is away or overloaded; try again.
    Unavailable,
    /// A fault of the service.
    Internal,
}

impl Code {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::ValidationFailed | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::MalformedJson | Self::MalformedRequest | Self::InvalidSignature => {
                StatusCode::BAD_REQUEST
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::CursorExpired => StatusCode::GONE,
            Self::EmailTaken
            | Self::ExternalIdTaken
            | Self::AlreadyDecided
            | Self::Outdated
            | Self::NotPossible
            | Self::AlreadyLinked => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::HostNotAllowed | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A refusal on its way out. Its cause is for the log only.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            cause: None,
        }
    }

    /// A value of `field` that can't be accepted. `detail` reads alone and never quotes the value.
    pub(crate) fn invalid(
        field: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Code::ValidationFailed, detail).at(field)
    }

    pub(crate) fn no_such_customer() -> Self {
        Self::new(
            Code::NotFound,
            "no living customer has this id or this e-mail",
        )
    }

    pub(crate) fn email_taken() -> Self {
        Self::new(Code::EmailTaken, "another customer has this e-mail").at("email")
    }

    pub(crate) fn external_id_taken() -> Self {
        let detail = "another customer has this external_id";
        Self::new(Code::ExternalIdTaken, detail).at("external_id")
    }

    pub(crate) fn stripe_id_taken() -> Self {
        let detail = "another customer is linked to this Stripe customer";
        Self::new(Code::AlreadyLinked, detail).at("stripe_id")
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            Code::Unavailable,
            "the database is not there for us; if this was a change, it may or may not have been made",
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            Code::Internal,
            "something is wrong in the service; its log names this request_id",
        )
    }

    /// Names the member, parameter or header that is at fault.
    pub(crate) fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The database's error, if that is the cause.
    pub(crate) fn cause(&self) -> Option<&DbErr> {
        self.cause.as_deref()?.downcast_ref()
    }

    /// The detail and the whole chain of causes, in one line for the log.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.detail.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }

    /// A server error, with its cause.
    pub(crate) fn log(&self) {
        match self.code {
            Code::Internal => tracing::error!("answering failed: {}", self.chain()),
            Code::Unavailable => tracing::warn!("answering failed: {}", self.chain()),
            _ => {}
        }
    }

    pub(crate) fn document(self, request_id: &str) -> Document {
        let status = self.code.status();
        Document {
            r#type: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail.into_owned(),
            field: self.field.map(Cow::into_owned),
            request_id: request_id.to_owned(),
        }
    }

    pub(crate) fn respond(self, request_id: &str) -> Response {
        let (status, code) = (self.code.status(), self.code);
        let document = self.document(request_id);
        let body = serde_json::to_vec(&document).expect("texts and numbers are JSON");
        let mut response = Response::builder()
            .status(status)
            .content_type(CONTENT_TYPE)
            .body(Body::from_vec(body));
        let more = match code {
            Code::Unauthorized => Some((header::WWW_AUTHENTICATE, "Bearer")),
            Code::Unavailable => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = more {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// So that handlers and extractors can return it; the answer itself is made where the request id is known.
impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.code.status()
    }
}

const CONTENT_TYPE: &str = "application/problem+json";

/// A refused request, after RFC 9457.
#[derive(Object, Serialize)]
#[oai(rename = "Problem", example)]
pub(crate) struct Document {
    /// Always `about:blank`: the status and the `code` say it all.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What to compare in a program.
    code: Code,
    /// What to show to a person.
    detail: String,
    /// The member, parameter or header at fault, where there is one.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Names this request in the service's log; also in the header X-Request-Id.
    request_id: String,
}

impl Example for Document {
    fn example() -> Self {
        Self {
            r#type: "about:blank".to_owned(),
            title: "Unprocessable Entity".to_owned(),
            status: 422,
            code: Code::ValidationFailed,
            detail: "email must have exactly one @ with text on both sides".to_owned(),
            field: Some("email".to_owned()),
            request_id: "0199d8a2-6f3e-7c11-9a55-0d6f1f0f4a11".to_owned(),
        }
    }
}
