//! SIGINT and SIGTERM: a command stops at its next item, and says how far it has come.

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Listens from its start on; a second signal ends the process at once.
pub(crate) struct Interrupt {
    signalled: watch::Receiver<bool>,
    _task: JoinSet<()>,
}

impl Interrupt {
    pub(crate) fn listen() -> Self {
        let (sender, signalled) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(async move {
            signal().await;
            let _ = sender.send(true);
            signal().await;
            std::process::exit(130);
        });
        Self {
            signalled,
            _task: task,
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.signalled.borrow()
    }

    /// Returns once there is a signal.
    pub(crate) async fn wait(&self) {
        let mut signalled = self.signalled.clone();
        let _ = signalled.wait_for(|is_set| *is_set).await;
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let both = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    // Where no handler can be set, a signal ends the process as it always does.
    let (Ok(mut interrupt), Ok(mut terminate)) = both else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
