//! The catch-all: what the framework refuses becomes a problem like any other.

use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem_openapi::error::{ParseParamError, ParsePathError};

use super::{Code, Problem};

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
            return Self::new(Code::PayloadTooLarge, "the body is larger than 64 KiB");
        }
        match error.status() {
            StatusCode::NOT_FOUND => Self::new(Code::NotFound, "nothing is at this path"),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                Code::MethodNotAllowed,
                "this path does not know this method; the header Allow lists those it knows",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(Code::PayloadTooLarge, "the body is larger than 64 KiB")
            }
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
