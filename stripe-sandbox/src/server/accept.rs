//! What a request has to be before anything is made of it: sent by no other site through a browser, and with a body
//! that arrives whole, at most 1 MiB within 30 seconds.

use std::sync::Arc;
use std::time::Duration;

use platform::http::site::{Hosts, Refused};
use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::{Endpoint, Error, Request, Response, Result};
use tokio::time::timeout;

const BYTES_MAX: usize = 1024 * 1024;
const TIME_MAX: Duration = Duration::from_secs(30);

/// For `around`.
pub(crate) fn guard<E>(
    hosts: Hosts,
) -> impl Fn(Arc<E>, Request) -> std::pin::Pin<Box<dyn Future<Output = Result<Response>> + Send>>
where
    E: Endpoint<Output = Response> + 'static,
{
    move |endpoint, mut request| {
        let checked = check(&hosts, &request);
        Box::pin(async move {
            checked.map_err(|refused| {
                Error::from_string(refused.to_string(), StatusCode::FORBIDDEN)
            })?;
            let bytes = read(&mut request).await.map_err(Error::from_status)?;
            request.set_body(bytes);
            endpoint.call(request).await
        })
    }
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Refused> {
    if request.uri().path() == super::HEALTH {
        return Ok(());
    }
    hosts.check_host(request)?;
    hosts.check_origin(request)
}

async fn read(request: &mut Request) -> Result<bytes::Bytes, StatusCode> {
    let reading = request.take_body().into_bytes_limit(BYTES_MAX);
    match timeout(TIME_MAX, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(ReadBodyError::PayloadTooLarge)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
