//! A sandbox on a port of its own, for tests.

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::options::Options;
use crate::sandbox::handle::Sandbox;

/// A served sandbox; dropped, it stops at once.
pub struct Running {
    /// Where it listens, as `http://127.0.0.1:12111`.
    pub url: String,
    pub sandbox: Sandbox,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// Opens a sandbox and serves it on a free port of 127.0.0.1.
pub async fn start(options: Options) -> anyhow::Result<Running> {
    let sandbox = Sandbox::open(options)?;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("binding a free port")?;
    Running::serve(sandbox, listener)
}

impl Running {
    /// Serves an opened sandbox on `listener`, which may be on the port of an earlier run.
    pub fn serve(sandbox: Sandbox, listener: TcpListener) -> anyhow::Result<Self> {
        let address = listener
            .local_addr()
            .context("reading the address that was bound")?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(sandbox.clone().run(listener, stop.clone()));
        Ok(Self {
            url: format!("http://{address}"),
            sandbox,
            stop,
            tasks,
        })
    }

    /// Stops serving; requests that have begun are finished. The account lives on in `sandbox`.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("the server ended badly")??;
        }
        Ok(())
    }
}
