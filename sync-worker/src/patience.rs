//! Trying again while the database is away, with the message in hand. Given back, it would come again at
//! once, and after some twenty times it would be a dead letter.

use std::time::Duration;

use entity::write;
use platform::backoff::Backoff;
use platform::health::Component;
use tokio_util::sync::CancellationToken;

const REST: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// For some two minutes. What fails for longer may be the message's own fault.
const ATTEMPTS: u32 = 50;

/// Does the work until it succeeds. None when it is told to stop or has tried long enough: then the message
/// is to go back.
pub(crate) async fn patiently<T, Work>(
    what: &str,
    (health, stop): (&Component, &CancellationToken),
    work: impl Fn() -> Work,
) -> Option<T>
where
    Work: Future<Output = Result<T, write::Error>>,
{
    let mut reported = health.cause("work").attempt();
    for attempt in 1..=ATTEMPTS {
        match work().await {
            Ok(done) => {
                reported.succeeded();
                return Some(done);
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                reported.failed(format!("{what}, trying again: {error:#}"));
            }
        }
        let rest = REST.jittered(attempt);
        if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
            return None;
        }
    }
    tracing::warn!("{what} keeps failing; the message goes back");
    None
}
