//! Who is let in: below /api requests with a key, once there are any, and from elsewhere none that a web site has sent
//! through a user's browser.

use std::time::Duration;

use platform::admin::{self, LIVE, METRICS, READY};
use platform::http::site::Hosts;
use poem::http::header;
use poem::{Endpoint, Request, Response};
use tokio::time::timeout;

use crate::auth::Keys;
use crate::problem::Problem;
use crate::request::routed;
use crate::webhook;

/// Longer than the longest wait that a client may ask for, and than every timeout below it.
const LONGEST_REQUEST: Duration = Duration::from_secs(90);

/// Sends what is below /api past the keys, and everything else to what is open to all.
pub(crate) struct Gate<A, O> {
    pub(crate) keys: Keys,
    pub(crate) hosts: Hosts,
    pub(crate) api: A,
    pub(crate) open: O,
}

impl<A, O> Endpoint for Gate<A, O>
where
    A: Endpoint<Output = Response>,
    O: Endpoint<Output = Response>,
{
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        match request.uri().path() {
            // An orchestrator asks by any name. A webhook is signed, and comes by a public one.
            LIVE | webhook::PATH => return self.open.call(request).await,
            READY => return self.ready(request).await,
            _ => {}
        }
        self.hosts.check_host(&request).map_err(Problem::from)?;
        self.hosts.check_origin(&request).map_err(Problem::from)?;
        let path = request.uri().path();
        let is_api = path == "/api" || path.starts_with("/api/");
        if is_api || path == METRICS {
            self.admit(&request)?;
        }
        if !is_api {
            return self.open.call(request).await;
        }
        match timeout(LONGEST_REQUEST, self.api.call(routed(request))).await {
            Ok(result) => result,
            Err(_) => Err(Problem::unavailable()
                .because("the request took too long")
                .into()),
        }
    }
}

impl<A, O: Endpoint<Output = Response>> Gate<A, O> {
    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let authorization = request.headers().get(header::AUTHORIZATION);
        self.keys
            .admit(authorization.and_then(|value| value.to_str().ok()))
    }

    /// Readiness; the details only for those who would be let in.
    async fn ready(&self, request: Request) -> poem::Result<Response> {
        let has_details = self.hosts.check_host(&request).is_ok() && self.admit(&request).is_ok();
        let response = self.open.call(request).await?;
        Ok(if has_details {
            response
        } else {
            admin::without_details(&response)
        })
    }
}
