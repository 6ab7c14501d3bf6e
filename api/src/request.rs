//! What surrounds every request: its id, its span, its metrics, one log line, and the one place where an error or a
//! panic becomes an answer. The log names the route's pattern and never the path, which may hold an e-mail.

mod id;
mod route;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::http::{HeaderName, HeaderValue, Method, header};
use poem::{Endpoint, PathPattern, Request, Response};
use tracing::Instrument;

use crate::problem::{Code, Problem};
use route::Route;
pub(crate) use route::{Routes, routed, spelled};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers find a request's id by.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// An endpoint with all that around it. It answers every request: no error comes out of it.
pub(crate) struct Observed<E> {
    inner: E,
    routes: Routes,
}

impl<E> Observed<E> {
    pub(crate) fn new(inner: E, routes: Routes) -> Self {
        Self { inner, routes }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for Observed<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let started = Instant::now();
        let method = method_name(request.method());
        let request_id = id::of(&request);
        request.set_data(RequestId(request_id.clone()));
        let span = tracing::info_span!("request", request_id, method);
        let outcome = AssertUnwindSafe(self.inner.call(request))
            .catch_unwind()
            .instrument(span.clone())
            .await;
        let mut answer = self.conclude(outcome, &request_id);
        span.in_scope(|| answer.log(started.elapsed()));
        answer.count(method, started.elapsed());
        platform::http::secure(&mut answer.response);
        if let Ok(value) = HeaderValue::try_from(request_id) {
            answer.response.headers_mut().insert(REQUEST_ID, value);
        }
        Ok(answer.response)
    }
}

impl<E> Observed<E> {
    fn conclude(
        &self,
        outcome: Result<poem::Result<Response>, Box<dyn Any + Send>>,
        request_id: &str,
    ) -> Answer {
        let (pattern, result) = match outcome {
            Ok(Ok(response)) => (response.data::<PathPattern>().cloned(), Ok(response)),
            Ok(Err(error)) => (
                error.data::<PathPattern>().cloned(),
                Err(Problem::from(error)),
            ),
            // What it said went to stderr already; it may hold anything, so it is not said again.
            Err(_) => (None, Err(Problem::internal().because("a handler panicked"))),
        };
        let route = self.routes.of(pattern.as_ref());
        match result {
            Ok(response) => Answer {
                response,
                route,
                failure: None,
            },
            Err(problem) => {
                let failure = problem
                    .code
                    .status()
                    .is_server_error()
                    .then(|| (problem.code, problem.chain()));
                let refused = problem.code;
                let mut response = problem.respond(request_id);
                if refused == Code::MethodNotAllowed {
                    let headers = response.headers_mut();
                    headers.insert(header::ALLOW, route.allow.clone());
                }
                Answer {
                    response,
                    route,
                    failure,
                }
            }
        }
    }
}

struct Answer {
    response: Response,
    route: Route,
    /// Of a server error: what goes into the log and not into the answer.
    failure: Option<(Code, String)>,
}

impl Answer {
    fn log(&self, elapsed: Duration) {
        let status = self.response.status().as_u16();
        let route = &*self.route.label;
        match &self.failure {
            Some((Code::Internal, failure)) => {
                tracing::error!(route, status, ?elapsed, "answering failed: {failure}");
            }
            Some((_, failure)) => {
                tracing::warn!(route, status, ?elapsed, "answering failed: {failure}");
            }
            None => tracing::debug!(route, status, ?elapsed, "answered"),
        }
    }

    fn count(&self, method: &'static str, elapsed: Duration) {
        let route = metrics::SharedString::from_shared(self.route.label.clone());
        let status = self.response.status().as_str().to_owned();
        metrics::counter!(
            "http_requests_total",
            "route" => route.clone(), "method" => method, "status" => status
        )
        .increment(1);
        metrics::histogram!(
            "http_request_duration_seconds",
            "route" => route, "method" => method
        )
        .record(elapsed);
    }
}

/// Any other text is a client's invention and would be a metric of its own.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;
    use poem::{EndpointExt, IntoResponse};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_that_says_nothing_of_it() {
        let panicking = make_sync(|_| -> String { panic!("the inside") }).map_to_response();
        let observed = Observed::new(panicking, Routes::of_api(()));
        let response = observed.call(Request::default()).await.unwrap();
        assert_eq!(response.status().as_u16(), 500);
        let text = response.into_response().into_body().into_string().await;
        let text = text.unwrap();
        assert!(
            text.contains("\"internal\"") && !text.contains("inside"),
            "{text}"
        );
    }
}
