//! The answers that the server gives by itself, as problem+json (RFC 9457).

use poem::Response;
use poem::http::{HeaderValue, StatusCode, header};
use uuid::Uuid;

/// A refusal before any endpoint was asked.
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
    request_id: String,
}

pub(super) fn too_many_connections() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "too many connections are open; try again",
    )
}

pub(super) fn head_timeout() -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "the head of the request did not arrive in time",
    )
}

pub(super) fn body_timeout() -> Refusal {
    Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "the body did not arrive in time",
    )
}

pub(super) fn response_timeout() -> Refusal {
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "the request took too long; if it was a write, it may or may not have been committed",
    )
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self {
            status,
            code,
            detail,
            request_id: Uuid::new_v4().to_string(),
        }
    }

    fn body(&self) -> String {
        serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": self.request_id,
        })
        .to_string()
    }

    fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = vec![
            ("content-type", "application/problem+json"),
            ("x-request-id", &self.request_id),
            ("connection", "close"),
        ];
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.push(("retry-after", "1"));
        }
        headers
    }

    /// For an endpoint's place.
    pub(super) fn response(&self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers() {
            response = response.header(name, value);
        }
        response.body(self.body())
    }

    /// For a connection on which no request can be answered otherwise.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut response = self.response();
        super::secure(&mut response);
        let body = self.body();
        let mut text = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in response.headers() {
            let value = value.to_str().unwrap_or_default();
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        text.into_bytes()
    }
}

/// Tells the client that this is the last response on its connection.
pub(super) fn close_after(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_a_whole_response() {
        let text = String::from_utf8(too_many_connections().to_bytes()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{head}"
        );
        for header in [
            "retry-after: 1",
            "connection: close",
            "x-content-type-options: nosniff",
        ] {
            assert!(head.contains(header), "{head}");
        }
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&503.into(), &"unavailable".into())
        );
    }
}
