//! One HTTP request to Stripe and its whole answer: pooled connections, our headers, a bound on time
//! and size. Never tries twice: only the caller knows whether that is safe.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use platform::config::Secret;
use platform::settings;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use stripe_client_core::{RequestBuilder as TypedRequest, StripeMethod, VERSION};

use super::answer::Invalid;
use super::failure::{Failure, FailureKind};
use super::first_id;
use super::limiter::{Lane, Limiter, TooMuch};
use super::reads::{self, Reads, Sending};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than any server's, so that we seldom write to a connection which is being closed: such a
/// request ends as unknown.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A page of 100 customers with full metadata is some 3 MiB.
const LARGEST_BODY_BYTES: usize = 8 * 1024 * 1024;
/// So much room is made for an answer that says how long it is.
const LARGEST_ROOM: usize = 256 * 1024;
/// Stripe documents no `Retry-After`; one that asks for more is not believed, and can't overflow a time.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
const TOO_LARGE: &str = "it is larger than 8 MiB";
const LONGEST_KEY: usize = 255;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) struct Transport {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    secret_key: Secret,
    pub(super) limiter: Limiter,
    pub(super) reads: Reads,
    /// The proxy of the environment, for errors: NO_PROXY may exempt the host.
    proxy: Option<String>,
}

/// One request, as it is to be sent.
pub(super) struct Call<'a> {
    /// Names it in logs and metrics.
    pub(super) operation: &'static str,
    pub(super) lane: Lane,
    pub(super) request: TypedRequest,
    pub(super) key: Option<&'a str>,
}

/// A 2xx answer.
pub(super) struct Answer {
    pub(super) body: Bytes,
    status: u16,
    pub(super) request_id: Option<String>,
    /// When it was answered by the server's clock, in Unix seconds.
    pub(super) served_at: Option<i64>,
    pub(super) replayed: bool,
}

impl Answer {
    /// The failure that this answer turns out to be: it can't be read, or belongs to another request.
    pub(super) fn invalid(&self, invalid: Invalid) -> Failure {
        let mut failure = match invalid {
            Invalid::Unparsed(why) => Failure::new(FailureKind::Unparsed, why),
            Invalid::Mismatched(why) => Failure::new(FailureKind::Mismatched, why),
        };
        failure.status = Some(self.status);
        failure.request_id.clone_from(&self.request_id);
        failure.replayed = self.replayed;
        failure
    }
}

impl Transport {
    pub(super) fn new(
        base: &Url,
        secret_key: Secret,
        timeout: Duration,
        limiter: Limiter,
    ) -> anyhow::Result<Self> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", secret_key.expose()))
            .ok()
            .context("the stripe secret key has characters that no key has")?;
        authorization.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, authorization),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (
                HeaderName::from_static("stripe-version"),
                HeaderValue::from_str(VERSION.as_str()).context("stripe's version as a header")?,
            ),
        ]);
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(base)?)
            .user_agent(concat!("customer-sync/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // Followed, a POST would become a GET, and the key would go to another host.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true);
        if is_loopback(base) {
            // A sandbox on this machine is not behind the proxy that the environment names.
            client = client.no_proxy();
        }
        Ok(Self {
            http: client
                .build()
                .context("making the http client for stripe")?,
            base: base.as_str().trim_end_matches('/').to_owned(),
            secret_key,
            limiter,
            reads: Reads::default(),
            proxy: settings::proxy(base.scheme()).filter(|_| !is_loopback(base)),
        })
    }

    /// Waits for a turn, sends, and reads the answer to its end.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let Call {
            operation,
            lane,
            request,
            key,
        } = call;
        let read =
            matches!(request.method, StripeMethod::Get).then(|| reads::kind(operation, lane));
        let request = self.request(request, key)?;
        let _permit = self.limiter.turn(lane).await;
        let started = Instant::now();
        let sending = Sending::new(&self.reads, read);
        let mut result = self.exchange(request, key).await;
        if let (Err(failure), Some(proxy)) = (&mut result, &self.proxy)
            && failure.kind == FailureKind::NotSent
        {
            let note = format!(
                "; the environment names the proxy {proxy}, and NO_PROXY exempts hosts from it"
            );
            failure.message.push_str(&note);
        }
        if matches!(&result, Err(failure) if failure.kind == FailureKind::NotSent) {
            sending.never_left();
        }
        self.observe(operation, started, &result);
        result
    }

    fn request(&self, typed: TypedRequest, key: Option<&str>) -> Result<RequestBuilder, Failure> {
        let unsendable = |what| Failure::new(FailureKind::Unsendable, what);
        let mut url = Url::parse(&format!("{}/v1{}", self.base, typed.path))
            .map_err(|_| unsendable("a path that no url can have"))?;
        url.set_query(typed.query.as_deref().filter(|query| !query.is_empty()));
        let method = match typed.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let is_post = method == Method::POST;
        let mut request = self.http.request(method, url);
        if is_post {
            let body = typed.body.unwrap_or_default();
            request = request.header(header::CONTENT_TYPE, FORM).body(body);
        }
        if let Some(key) = key {
            let key = HeaderValue::from_str(key)
                .ok()
                .filter(|key| (1..=LONGEST_KEY).contains(&key.len()))
                .ok_or_else(|| unsendable("an idempotency key that stripe would not take"))?;
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        key: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let succeeded = (200..300).contains(&status);
        let failure = match read(response).await {
            Ok(_) if names_another_key(&headers, key) => {
                let what = "it names the idempotency key of another one";
                Failure::new(FailureKind::Mismatched, what)
            }
            Ok(Body::Whole(body)) if succeeded => {
                return Ok(Answer {
                    body,
                    status,
                    request_id: text(&headers, "request-id"),
                    served_at: served_at(&headers),
                    replayed: flag(&headers, "idempotent-replayed") == Some(true),
                });
            }
            Ok(Body::TooLarge(start)) if succeeded => {
                let mut failure = Failure::new(FailureKind::TooLarge, TOO_LARGE);
                failure.first_id = first_id::read(&start);
                failure
            }
            Ok(Body::Whole(body) | Body::TooLarge(body)) => self.refused(status, &body),
            Err(failure) => failure,
        };
        Err(told(failure, status, &headers))
    }

    fn refused(&self, status: u16, body: &[u8]) -> Failure {
        let mut failure = Failure::answered(status, body);
        // Stripe hides most of a wrong key in its answer; another server may not.
        let secret = self.secret_key.expose();
        if failure.message.contains(secret) {
            failure.message = failure.message.replace(secret, "***");
        }
        failure
    }

    fn observe(&self, operation: &'static str, started: Instant, result: &Result<Answer, Failure>) {
        let took = started.elapsed();
        let (status, request_id) = match result {
            Ok(answer) => (Some(answer.status), &answer.request_id),
            Err(failure) => (failure.status, &failure.request_id),
        };
        if let Err(failure) = result {
            if failure.kind == FailureKind::Mismatched {
                count_mismatch(operation);
            }
            // Contention for one object says nothing about how often Stripe is asked.
            let is_rate = failure.status == Some(429);
            if is_rate {
                let reason = failure.rate_limited_reason.clone();
                let reason = reason.or_else(|| failure.code.clone());
                let reason = reason.unwrap_or_else(|| "none".to_owned());
                metrics::counter!("stripe_limited_total", "reason" => reason).increment(1);
            }
            if is_rate
                && failure.code.as_deref() != Some("lock_timeout")
                && let Some(too_much) = TooMuch::of(failure.rate_limited_reason.as_deref())
            {
                self.limiter.slow_down(too_much, failure.retry_after);
            }
        }
        let label = match (status, result) {
            (_, Err(failure)) if failure.kind == FailureKind::NotSent => "not_sent".to_owned(),
            (_, Err(failure)) if failure.kind == FailureKind::Unknown => "unknown".to_owned(),
            (status, _) => status.map_or_else(|| "none".to_owned(), |status| status.to_string()),
        };
        tracing::debug!(operation, status = %label, request_id, ?took, "asked stripe");
        metrics::counter!("stripe_requests_total", "operation" => operation, "status" => label)
            .increment(1);
        metrics::histogram!("stripe_request_duration_seconds", "operation" => operation)
            .record(took);
    }
}

enum Body {
    Whole(Bytes),
    /// The start of one that is larger than any that is read.
    TooLarge(Bytes),
}

async fn read(mut response: Response) -> Result<Body, Failure> {
    let told = response.content_length().unwrap_or_default();
    let told = usize::try_from(told).unwrap_or(usize::MAX);
    let first = response.chunk().await.map_err(broken)?;
    let first = first.unwrap_or_default();
    if first.len().max(told) > LARGEST_BODY_BYTES {
        return Ok(Body::TooLarge(first));
    }
    // Nearly every answer comes in one piece, and is not copied.
    if first.len() == told {
        return Ok(Body::Whole(first));
    }
    let mut body = BytesMut::with_capacity(room(told, first.len()));
    body.extend_from_slice(&first);
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > LARGEST_BODY_BYTES {
            return Ok(Body::TooLarge(body.freeze()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Body::Whole(body.freeze()))
}

/// How much room is made at first: what is announced is believed no further than a page goes.
fn room(announced: usize, received: usize) -> usize {
    announced.min(LARGEST_ROOM).max(received)
}

/// `Date`, which every HTTP server sends.
fn served_at(headers: &HeaderMap) -> Option<i64> {
    let date = text(headers, header::DATE.as_str())?;
    let date = chrono::DateTime::parse_from_rfc2822(&date).ok()?;
    Some(date.timestamp())
}

/// Whether the answer is to a request under another idempotency key: Stripe repeats the key in its answers.
fn names_another_key(headers: &HeaderMap, sent: Option<&str>) -> bool {
    let named = text(headers, IDEMPOTENCY_KEY.as_str());
    named.is_some_and(|named| Some(named.as_str()) != sent)
}

/// Counts a response that does not match its request.
pub(super) fn count_mismatch(operation: &'static str) {
    metrics::counter!("stripe_mismatched_responses_total", "operation" => operation).increment(1);
}

/// The failure with what the head of the answer said.
fn told(mut failure: Failure, status: u16, headers: &HeaderMap) -> Failure {
    failure.status = Some(status);
    failure.request_id = text(headers, "request-id");
    failure.replayed = flag(headers, "idempotent-replayed") == Some(true);
    failure.should_retry = flag(headers, "stripe-should-retry");
    failure.rate_limited_reason = text(headers, "stripe-rate-limited-reason");
    failure.retry_after = text(headers, "retry-after")
        .and_then(|seconds| seconds.parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    failure
}

/// No whole answer came. The url is left out, because it may hold an e-mail.
fn broken(error: reqwest::Error) -> Failure {
    let kind = if error.is_connect() {
        FailureKind::NotSent
    } else if error.is_builder() {
        FailureKind::Unsendable
    } else {
        FailureKind::Unknown
    };
    let error = error.without_url();
    let mut what = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !what.ends_with(&cause_text) {
            what = format!("{what}: {cause_text}");
        }
        source = cause.source();
    }
    Failure::new(kind, what)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (1..=255).contains(&value.len()).then(|| value.to_owned())
}

fn flag(headers: &HeaderMap, name: &'static str) -> Option<bool> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Trusts what the machine trusts, so that a company's own root works; where it has no roots, as in
/// an empty container, Mozilla's. The crypto provider is named here and not installed for the process.
fn tls(base: &Url) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    // A sandbox without TLS needs none, and finding them takes a while.
    if base.scheme() == "https" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choosing tls versions")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_holds_what_was_received_whatever_was_announced() {
        for (announced, received, expected) in [
            (0, 0, 0),
            (1_000, 10, 1_000),
            (340_000, 340_000 - 1, 340_000 - 1),
            (0, 600_000, 600_000),
            (usize::MAX, 10, LARGEST_ROOM),
        ] {
            assert_eq!(room(announced, received), expected);
        }
    }
}
