//! The health and metrics endpoints of every process, the server for processes that have no other,
//! and the check that a container runs against it.

use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use poem::http::StatusCode;
use poem::web::{Data, Json};
use poem::{Endpoint, EndpointExt, IntoResponse, Response, Route, get, handler};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::health::{Health, Report};
use crate::http::site::Hosts;
use crate::http::{self, Limits};

pub const LIVE: &str = "/health/live";
pub const READY: &str = "/health/ready";
pub const METRICS: &str = "/metrics";

/// What the endpoints of this module show.
#[derive(Clone)]
pub struct Pages {
    pub health: Health,
    pub metrics: PrometheusHandle,
    /// Once it is cancelled, the process is not ready.
    pub stop: CancellationToken,
}

impl Pages {
    /// `/health/live` (200 while the process answers), `/health/ready` (200 or 503, with what each
    /// component says) and `/metrics` (Prometheus).
    pub fn routes(self) -> Route {
        Route::new()
            .at(LIVE, get(live))
            .at(READY, get(ready).data(self.health).data(self.stop))
            .at(METRICS, get(scrape).data(self.metrics))
    }
}

#[handler]
fn live() -> &'static str {
    "ok"
}

/// Readiness in a word, for every reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ready,
    NotReady,
    Stopping,
}

#[derive(Serialize)]
struct Readiness {
    status: Status,
    #[serde(flatten)]
    report: Report,
}

#[handler]
fn ready(Data(health): Data<&Health>, Data(stop): Data<&CancellationToken>) -> Response {
    let mut report = health.report(tokio::time::Instant::now().into_std());
    let status = match report.ready {
        _ if stop.is_cancelled() => Status::Stopping,
        true => Status::Ready,
        false => Status::NotReady,
    };
    report.ready = status == Status::Ready;
    let code = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Json(Readiness { status, report })
        .with_status(code)
        .into_response()
}

/// What remains of a response of `/health/ready` for readers who may not see its details: its status.
pub fn without_details(response: &Response) -> Response {
    let status = if response.status() == StatusCode::OK {
        Status::Ready
    } else {
        Status::NotReady
    };
    Json(serde_json::json!({ "status": status }))
        .with_status(response.status())
        .into_response()
}

#[handler]
fn scrape(Data(metrics): Data<&PrometheusHandle>) -> Response {
    Response::builder()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics.render())
}

/// Serves these pages, and nothing else, until `end`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let server = http::Server {
        name: "admin",
        limits: Limits {
            connections: 64,
            per_peer: 32,
            reserved: 8,
            head: Duration::from_secs(5),
            body: Duration::from_secs(5),
            response: Duration::from_secs(10),
            ..Limits::default()
        },
        always: &[LIVE, READY, METRICS],
        drain_delay: Duration::ZERO,
        grace: Duration::from_secs(1),
    };
    let bound = listener
        .local_addr()
        .context("reading the address that was bound")?;
    // A server that other machines reach is called by names that only they know.
    let hosts = if bound.ip().is_loopback() {
        Hosts::of(bound, [])
    } else {
        Hosts::default()
    };
    server
        .run(http::acceptor(listener)?, guarded(pages, hosts), end)
        .await
        .context("serving health checks and metrics")
}

/// The pages; to a request for another host they tell their status only.
fn guarded(pages: Pages, hosts: Hosts) -> impl Endpoint<Output = Response> {
    pages.routes().around(move |routes, request| {
        let path = request.uri().path().to_owned();
        let is_ours = hosts.check_host(&request).is_ok();
        async move {
            if !is_ours && path == METRICS {
                return Ok(StatusCode::FORBIDDEN.into_response());
            }
            let response = routes.call(request).await?;
            Ok(match path.as_str() {
                READY if !is_ours => without_details(&response),
                _ => response,
            })
        }
    })
}

/// Listens on `addr`.
///
/// # Errors
/// When it can't; the error names the address and what to do.
pub async fn bind(addr: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| {
        format!(
            "listening on {addr} (is it free, and is it an address of this machine, as host:port?)"
        )
    })
}

/// Asks the process that listens on `addr` whether it is alive, within 3 seconds.
///
/// # Errors
/// When it isn't: nothing answers, or not with 200.
pub async fn healthcheck(addr: &str) -> anyhow::Result<()> {
    // What a process listens on is not always what can be dialled.
    let dialled = match addr.rsplit_once(':') {
        Some(("0.0.0.0" | "", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => addr.to_owned(),
    };
    let status = tokio::time::timeout(Duration::from_secs(3), status_line(&dialled))
        .await
        .with_context(|| format!("{dialled} did not answer within 3 seconds"))?
        .with_context(|| format!("asking {dialled} for its health"))?;
    let code = status.split(' ').nth(1);
    anyhow::ensure!(
        code == Some("200"),
        "{dialled} is not healthy: it answered {status:?}"
    );
    Ok(())
}

async fn status_line(addr: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET /health/live HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // The status line is all that is wanted, and all that is kept.
    stream.take(1024).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use poem::test::TestClient;

    use super::*;
    use crate::telemetry;

    const LIMIT: Duration = Duration::from_secs(60);

    fn pages(health: Health) -> Pages {
        Pages {
            health,
            metrics: telemetry::metrics().unwrap(),
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn process_is_not_ready_once_it_stops() {
        let health = Health::new();
        health.component("relay", LIMIT).ok();
        let pages = pages(health);
        let stop = pages.stop.clone();
        let client = TestClient::new(pages.routes());
        let probe = async || {
            let answer = client.get(READY).send().await;
            let status = answer.0.status().as_u16();
            let body = answer.json().await;
            let body = body.value().object();
            (
                status,
                body.get("status").string().to_owned(),
                body.get("ready").bool(),
            )
        };
        assert_eq!(probe().await, (200, "ready".to_owned(), true));
        stop.cancel();
        assert_eq!(probe().await, (503, "stopping".to_owned(), false));
    }

    #[tokio::test]
    async fn another_host_gets_neither_metrics_nor_details() {
        let hosts = Hosts::of("127.0.0.1:8001".parse().unwrap(), []);
        let client = TestClient::new(guarded(pages(Health::new()), hosts));
        for (host, metrics, has_details) in
            [("localhost:8001", 200, true), ("evil.example", 403, false)]
        {
            let get = async |path| client.get(path).header("host", host).send().await;
            assert_eq!(get(METRICS).await.0.status().as_u16(), metrics);
            assert_eq!(get(LIVE).await.0.status().as_u16(), 200);
            let text = get(READY).await.0.into_body().into_string().await.unwrap();
            assert_eq!(text.contains("components"), has_details, "{text}");
        }
    }

    #[tokio::test]
    async fn readiness_without_details_is_its_status_alone() {
        for (code, status) in [
            (StatusCode::OK, "ready"),
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        ] {
            let full = Json(serde_json::json!({"components": ["secret"]})).with_status(code);
            let bare = without_details(&full.into_response());
            assert_eq!(bare.status(), code);
            let text = bare.into_body().into_string().await.unwrap();
            assert_eq!(text, format!("{{\"status\":\"{status}\"}}"));
        }
    }

    #[tokio::test]
    async fn ready_says_503_and_names_what_is_wrong() {
        let health = Health::new();
        let relay = health.component("relay", LIMIT);
        let client = TestClient::new(pages(health).routes());
        relay.problem("the broker is away");
        let answer = client.get("/health/ready").send().await;
        answer.assert_status(StatusCode::SERVICE_UNAVAILABLE);
        let report = answer.json().await;
        let component = report
            .value()
            .object()
            .get("components")
            .array()
            .get(0)
            .object();
        component.get("detail").assert_string("the broker is away");
        client
            .get("/health/live")
            .send()
            .await
            .assert_status_is_ok();
        relay.ok();
        client
            .get("/health/ready")
            .send()
            .await
            .assert_status_is_ok();
    }

    #[tokio::test]
    async fn metrics_are_in_prometheus_text() {
        let pages = pages(Health::new());
        metrics::counter!("admin_test_total").increment(1);
        let client = TestClient::new(pages.routes());
        let answer = client.get("/metrics").send().await;
        answer.assert_status_is_ok();
        answer.assert_content_type("text/plain; version=0.0.4; charset=utf-8");
        let text = answer.0.into_body().into_string().await.unwrap();
        assert!(text.contains("admin_test_total 1"), "{text}");
    }

    #[tokio::test]
    async fn the_healthcheck_passes_while_the_process_serves_and_fails_after_it() {
        let listener = bind("0.0.0.0:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let serving = serve(listener, pages(Health::new()), stop.clone());
        let checking = async {
            healthcheck(&addr).await.unwrap();
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serving, checking);
        served.unwrap();
        let error = format!("{:#}", healthcheck(&addr).await.unwrap_err());
        assert!(error.contains("127.0.0.1"), "{error}");
    }

    #[tokio::test]
    async fn the_healthcheck_fails_on_any_other_answer() {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 500 no\r\n\r\n").await.unwrap();
        };
        let (checked, ()) = tokio::join!(healthcheck(&addr), answering);
        assert!(checked.unwrap_err().to_string().contains("500"));
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let taken = bind("127.0.0.1:0").await.unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let error = bind(&addr).await.unwrap_err().to_string();
        assert!(error.contains(&addr), "{error}");
    }
}
