//! Which problems an operation may answer with, for its place in the spec.

use std::marker::PhantomData;

use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::{CONTENT_TYPE, Document, Problem};

/// A status and when it is answered.
pub(crate) type Listed = (u16, &'static str);

/// An operation that lists its problems. Those that every operation has are added.
pub(crate) trait Documented {
    const PROBLEMS: &'static [&'static [Listed]];
}

const EVERY: &[Listed] = &[
    (401, "No API key, or not one of ours (`unauthorized`)."),
    (
        403,
        "The Host header names no host of this server (`host_not_allowed`), or a page of another site sent the request (`cross_site`).",
    ),
    // An operation whose values may be refused says so itself.
    (
        422,
        "A query parameter is not known here; `field` names it (`validation_failed`).",
    ),
    (
        500,
        "A fault of the service, logged with this request id (`internal`).",
    ),
    (
        503,
        "The database is away or overloaded; try again (`unavailable`).",
    ),
];

/// Of every operation that reads a body, but for 422.
pub(crate) const BODY: &[Listed] = &[
    (
        400,
        "The body is no JSON (`malformed_json`), or a header can't be read (`malformed_request`).",
    ),
    (408, "The body did not arrive in time (`request_timeout`)."),
    (
        413,
        "The body is larger than 64 KiB, or than 512 KiB where it has many customers (`payload_too_large`).",
    ),
    (
        415,
        "The body is not sent as JSON (`unsupported_media_type`).",
    ),
];

/// Of every operation on one customer.
pub(crate) const KEYED: &[Listed] = &[(
    404,
    "No living customer has this id or this e-mail (`not_found`).",
)];

/// Of every operation with If-Match.
pub(crate) const TAGGED: &[Listed] = &[(
    412,
    "The customer is not in the state that If-Match names (`precondition_failed`).",
)];

/// The problem of an operation, with the operation's list in its type.
pub(crate) struct Refusal<O>(Problem, PhantomData<O>);

impl<O> From<Problem> for Refusal<O> {
    fn from(problem: Problem) -> Self {
        Self(problem, PhantomData)
    }
}

impl<O> From<Refusal<O>> for poem::Error {
    fn from(refusal: Refusal<O>) -> Self {
        refusal.0.into()
    }
}

impl<O: Documented> ApiResponse for Refusal<O> {
    fn meta() -> MetaResponses {
        let own = || O::PROBLEMS.iter().copied().flatten();
        let is_own = |status| own().any(|&(listed, _)| listed == status);
        let every = EVERY.iter().filter(|&&(status, _)| !is_own(status));
        let mut responses: Vec<_> = own().chain(every).map(response).collect();
        responses.sort_by_key(|response| response.status);
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        Document::register(registry);
    }
}

fn response(&(status, description): &Listed) -> MetaResponse {
    let headers = match status {
        401 => vec![header("WWW-Authenticate", "Always `Bearer`.")],
        503 => vec![header("Retry-After", "Seconds to wait.")],
        _ => Vec::new(),
    };
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: CONTENT_TYPE,
            schema: Document::schema_ref(),
        }],
        headers,
    }
}

fn header(name: &str, description: &str) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    }
}
