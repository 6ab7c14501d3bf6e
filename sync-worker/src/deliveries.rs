//! Takes the deliveries of one queue for as long as the process runs, whatever happens to the broker.

use std::time::Duration;

use platform::backoff::Backoff;
use platform::broker::{Broker, Consumer};
use platform::health::Component;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Unacknowledged messages that the broker hands out: a few for every hand.
const PREFETCH: u16 = 100;

const RECONNECT: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// A consumer that lasted for so long is not of the same trouble as the one before it.
const STABLE: Duration = Duration::from_secs(10);

/// Opens a consumer of `queue` and gives it to `consume`, anew whenever that fails, until it is told to
/// stop. `consume` reports `ok` once a delivery has come, or none has for a while.
pub(crate) async fn run<Work>(
    (broker, queue): (&Broker, &'static str),
    (health, stop): (&Component, &CancellationToken),
    consume: impl Fn(Consumer) -> Work,
) -> anyhow::Result<()>
where
    Work: Future<Output = anyhow::Result<()>>,
{
    let mut attempt = 0;
    while !stop.is_cancelled() {
        let opened = tokio::select! {
            () = stop.cancelled() => break,
            opened = broker.consumer(queue, PREFETCH) => opened,
        };
        let ended = match opened {
            Ok(consumer) => {
                // That it was opened proves nothing of what comes next: `consume` reports the first success.
                health.beat();
                let opened_at = Instant::now();
                let ended = consume(consumer).await;
                if opened_at.elapsed() >= STABLE {
                    attempt = 0;
                }
                ended
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            attempt += 1;
            health.problem(format!("taking messages, trying again: {error:#}"));
            let rest = RECONNECT.jittered(attempt);
            let _ = tokio::time::timeout(rest, stop.cancelled()).await;
        }
    }
    Ok(())
}
