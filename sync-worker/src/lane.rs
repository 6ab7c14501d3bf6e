//! Whether Stripe takes our key. While it does not, pushing more would only fail for everyone, so the
//! lane stops, says why, and tries again by itself.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long the lane rests before it tries the key again.
pub(crate) const REST: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct LaneState {
    stopped: watch::Sender<Option<Stop>>,
}

#[derive(Clone, Debug)]
struct Stop {
    reason: String,
    /// None while it has never run.
    at: Option<Instant>,
}

impl Default for LaneState {
    fn default() -> Self {
        Self {
            stopped: watch::Sender::new(None),
        }
    }
}

impl LaneState {
    /// Stops the lane; the reason is shown by the health page.
    pub fn stop(&self, reason: impl Into<String>) {
        self.stopped.send_replace(Some(Stop {
            reason: reason.into(),
            at: Some(Instant::now()),
        }));
    }

    /// Stops a lane that has not run yet, until somebody has looked whose key it is.
    pub fn hold(&self) {
        self.stopped.send_replace(Some(Stop {
            reason: "Stripe has not said yet whose key STRIPE_SECRET_KEY is".to_owned(),
            at: None,
        }));
    }

    pub fn resume(&self) {
        self.stopped
            .send_if_modified(|stopped| stopped.take().is_some());
    }

    pub fn stopped(&self) -> Option<String> {
        let stopped = self.stopped.borrow();
        stopped.as_ref().map(|stop| stop.reason.clone())
    }

    /// Whether it stands still long enough to try the key again.
    pub fn is_rested(&self) -> bool {
        let stopped = self.stopped.borrow();
        stopped
            .as_ref()
            .is_some_and(|stop| stop.at.is_none_or(|at| at.elapsed() >= REST))
    }

    /// Resolves once the lane runs, at once if it does.
    pub async fn running(&self) {
        let mut stopped = self.stopped.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = stopped.wait_for(Option::is_none).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stopped_lane_says_why_and_waits_until_it_is_resumed() {
        let lane = LaneState::default();
        lane.running().await;
        lane.stop("the key is refused");
        assert_eq!(lane.stopped().as_deref(), Some("the key is refused"));
        let waiting = {
            let lane = lane.clone();
            async move { lane.running().await }
        };
        let (resumed, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(5), waiting),
            async { lane.resume() }
        );
        resumed.unwrap();
        assert_eq!(lane.stopped(), None);
    }
}
