//! HTTP: Stripe's API under `/v1`, the human page at `/`, the sandbox's own routes under `/_sandbox`.

mod accept;
mod admin;
mod dashboard;
mod disturbed;
mod line;
pub(crate) mod running;
mod stripe;
mod webhook;

use std::time::Duration;

use anyhow::Context;
use platform::http::site::Hosts;
use platform::http::{Limits, Server};
use poem::{EndpointExt, Route};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::line::{LineAcceptor, Lines};
use crate::sandbox::handle::Sandbox;

/// How long a stop waits for open connections.
const DRAIN: Duration = Duration::from_secs(5);
const HEALTH: &str = "/_sandbox/health";
/// A fault may hold a response back for as long as a test wants.
const LONGEST_RESPONSE: Duration = Duration::from_secs(3600);
/// What the account's file and the webhooks need.
const OTHER_DESCRIPTORS: usize = 32;

impl Sandbox {
    /// Serves the account until `stop`; requests that have begun are finished. It can be served again.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        let state = self.0;
        let lines = Lines::default();
        let bound = listener
            .local_addr()
            .context("reading the address that was bound")?;
        let hosts = Hosts::of(bound, state.options.hosts.iter().cloned());
        let routes = Route::new()
            .nest("/_sandbox", admin::routes())
            .nest("/dashboard", dashboard::routes())
            .at("/", dashboard::index())
            .at("/v1/*path", stripe::Api)
            // There is no v2 here, but the refusal should be Stripe's.
            .at("/v2/*path", stripe::Api)
            .data(lines.clone())
            .data(state.clone())
            .around(accept::guard(hosts));
        let server = Server {
            name: "stripe-sandbox",
            limits: Limits {
                response: LONGEST_RESPONSE,
                ..Limits::fitting(1024, 512, OTHER_DESCRIPTORS)
            },
            always: &[HEALTH],
            drain_delay: Duration::ZERO,
            grace: DRAIN,
        };
        let serving = server.run(LineAcceptor { listener, lines }, routes, stop.clone());
        let deliveries = webhook::run(state.clone(), stop.clone());
        let (served, delivered) = tokio::join!(
            async {
                let served = serving.await.context("serving HTTP");
                // A server that ends on its own takes the deliveries with it.
                stop.cancel();
                served
            },
            deliveries
        );
        state.requests.close();
        let _ = tokio::time::timeout(DRAIN, state.requests.wait()).await;
        state.requests.reopen();
        served.and(delivered)
    }
}
