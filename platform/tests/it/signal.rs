//! The signals that end a process.

use std::time::Duration;

use platform::supervisor::Supervisor;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

async fn send_to_myself(name: &str) {
    let id = std::process::id().to_string();
    let status = Command::new("kill")
        .args(["-s", name, &id])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn sigterm_and_sigint_drain_and_a_second_one_ends_the_wait() {
    // With these the process survives its signals from now on, whenever the supervisor listens.
    let _terminate = signal(SignalKind::terminate()).unwrap();
    let _interrupt = signal(SignalKind::interrupt()).unwrap();
    for (name, deaf) in [("TERM", false), ("INT", false), ("TERM", true)] {
        let mut supervisor = Supervisor::new(Duration::from_secs(60));
        let stop = supervisor.stop();
        supervisor.spawn("task", async move {
            send_to_myself(name).await;
            stop.cancelled().await;
            if deaf {
                send_to_myself("INT").await;
                std::future::pending::<()>().await;
            }
            Ok(())
        });
        let ended = tokio::time::timeout(Duration::from_secs(20), supervisor.run())
            .await
            .unwrap();
        assert_eq!(ended.is_err(), deaf, "{ended:?}");
    }
}
