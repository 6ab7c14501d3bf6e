//! RabbitMQ for tests: the one they share, and one that a test may break.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::variable;
use crate::config::Secret;

/// The URL of the RabbitMQ that tests share, each with exchanges and queues of its own.
///
/// # Panics
/// When TEST_AMQP_URL is not set.
pub fn rabbitmq_url() -> Secret {
    variable("TEST_AMQP_URL")
}

/// A RabbitMQ of one test, which may kill it and start it again with its data. Taken down when it
/// is dropped.
pub struct RabbitMq {
    pub url: Secret,
    directory: TempDir,
}

impl RabbitMq {
    /// Starts one, which takes some seconds.
    ///
    /// # Panics
    /// When TEST_SERVERS does not name scripts/servers, or the server does not start.
    pub async fn own() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let url = servers(["rabbitmq", "start"], directory.path()).await;
        Self {
            url: Secret::new(url.trim()),
            directory,
        }
    }

    /// Stops it in good order and starts it again.
    pub async fn restart(&self) {
        servers(["rabbitmq", "restart"], self.directory.path()).await;
    }

    /// Stops it in good order.
    pub async fn stop(&self) {
        servers(["rabbitmq", "stop"], self.directory.path()).await;
    }

    /// Ends it as a crash would.
    ///
    /// A quorum queue that is less than a second old does not survive this: RabbitMQ (3.10 at
    /// least) writes the list of its queues down late, and afterwards the queue never finds its
    /// leader. A `restart` before makes it safe.
    pub async fn kill(&self) {
        servers(["rabbitmq", "kill"], self.directory.path()).await;
    }

    /// Starts it again; returns when it is ready.
    pub async fn start(&self) {
        servers(["rabbitmq", "start"], self.directory.path()).await;
    }

    /// Runs the lines of a shell in which `rabbitmqctl` is this server's.
    pub async fn shell(&self, lines: &str) {
        let script = variable("TEST_SERVERS");
        let control = r#"rabbitmqctl() { "$SCRIPT" rabbitmq ctl "$FOLDER" "$@"; }"#;
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &format!("{control}\n{lines}")])
            .env("SCRIPT", script.expose())
            .env("FOLDER", self.directory.path())
            .stdout(Stdio::null());
        let running = tokio::task::spawn_blocking(move || shell.status());
        let status = running.await.expect("the shell ran");
        let status = status.expect("there is a shell");
        assert!(status.success(), "{lines} failed");
    }

    /// The URL of another user, whose password has no special characters, in a virtual host.
    pub fn url_of(&self, user: &str, password: &str, vhost: &str) -> Secret {
        let url = self.url.expose();
        let (scheme, rest) = url.split_once("://").expect("it is a URL");
        let (_, place) = rest.split_once('@').unwrap_or(("", rest));
        let server = place.split('/').next().unwrap_or(place);
        Secret::new(format!("{scheme}://{user}:{password}@{server}/{vhost}"))
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        run(&["stop"], self.directory.path());
    }
}

/// Away from the threads that the runtime needs.
async fn servers(arguments: [&'static str; 2], directory: &Path) -> String {
    let directory = directory.to_owned();
    let running = tokio::task::spawn_blocking(move || run(&arguments, &directory));
    running.await.expect("the script ran")
}

fn run(arguments: &[&str], directory: &Path) -> String {
    let script = variable("TEST_SERVERS");
    let mut command = Command::new(script.expose());
    command
        .args(arguments)
        .arg(directory)
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .expect("TEST_SERVERS names scripts/servers");
    assert!(
        output.status.success(),
        "{} {arguments:?} failed",
        script.expose()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
