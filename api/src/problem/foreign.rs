//! The catch-all: what the framework refuses becomes a problem like any other.

use platform::http::site::Refused;
use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem_openapi::error::{ParseParamError, ParsePathError};

use super::{Code, Problem};

const TOO_LARGE: &str =
    "the body is larger than 64 KiB, or than 512 KiB where it has many customers";

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Host => Self::new(
                Code::HostNotAllowed,
                "the Host header names no host of this server; add it to API_HOSTS",
            )
            .at("Host"),
            Refused::CrossSite => Self::new(
                Code::CrossSite,
                "a page of another site sent this request; if it may, add its host to API_HOSTS",
            )
            .at("Origin"),
        }
    }
}

impl From<poem::Error> for Problem {
    fn from(error: poem::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(problem) => return problem,
            Err(error) => error,
        };
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            // The reason names a type or a bound, never the value.
            return Self::invalid(error.name, format!("{}: {}", error.name, error.reason));
        }
        if error.is::<ParsePathError>() {
            return Self::new(Code::NotFound, "nothing is at this path");
        }
        if let Some(ReadBodyError::PayloadTooLarge) = error.downcast_ref() {
            return Self::new(Code::PayloadTooLarge, TOO_LARGE);
        }
        match error.status() {
            StatusCode::NOT_FOUND => Self::new(Code::NotFound, "nothing is at this path"),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                Code::MethodNotAllowed,
                "this path does not know this method; the header Allow lists those it knows",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(Code::PayloadTooLarge, TOO_LARGE),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                Code::UnsupportedMediaType,
                "the content type is not one that is read here",
            ),
            status if status.is_client_error() => {
                Self::new(Code::MalformedRequest, "the request can't be read")
            }
            _ => Self::internal().because(error.to_string()),
        }
    }
}
