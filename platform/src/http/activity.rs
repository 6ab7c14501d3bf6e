//! What a connection is doing and since when, in one atomic word: the server waits for the client, or works for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of the next request has arrived.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// The body of a request is arriving.
    Body,
    /// The request is complete and is being answered.
    Work,
    /// The connection is to be closed; no request begins any more.
    Closing,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Idle,
        Self::Head,
        Self::Body,
        Self::Work,
        Self::Closing,
    ];

    /// Whether the server waits for the client.
    pub(super) fn is_waiting(self) -> bool {
        matches!(self, Self::Idle | Self::Head | Self::Body)
    }
}

/// A phase and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) phase: Phase,
    pub(super) since: Instant,
    word: u64,
}

pub(super) struct Activity {
    opened: Instant,
    word: AtomicU64,
    closing: Notify,
}

impl Activity {
    /// A connection that was accepted now: its first head is awaited.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            word: AtomicU64::new(Phase::Head as u64),
            closing: Notify::new(),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let word = self.word.load(Ordering::Acquire);
        Seen {
            phase: Phase::ALL[(word % 8) as usize],
            since: self.opened + Duration::from_millis(word / 8),
            word,
        }
    }

    /// Enters a phase; false once the connection is to be closed.
    pub(super) fn enter(&self, phase: Phase) -> bool {
        loop {
            let seen = self.seen();
            if seen.phase == Phase::Closing {
                return false;
            }
            if self.replace(seen, phase) {
                return true;
            }
        }
    }

    /// Bytes have arrived: a connection that was idle receives a head.
    pub(super) fn receive(&self) {
        let seen = self.seen();
        if seen.phase == Phase::Idle {
            self.replace(seen, Phase::Head);
        }
    }

    /// The body of a request has arrived. A response may have been given before it.
    pub(super) fn complete_body(&self) {
        let seen = self.seen();
        if seen.phase == Phase::Body {
            self.replace(seen, Phase::Work);
        }
    }

    /// Closes the connection, if it is still doing what was seen.
    pub(super) fn close(&self, seen: Seen) -> bool {
        let closes = self.replace(seen, Phase::Closing);
        if closes {
            self.closing.notify_one();
        }
        closes
    }

    /// Returns once another part has closed the connection.
    pub(super) async fn closed(&self) {
        self.closing.notified().await;
    }

    fn replace(&self, seen: Seen, phase: Phase) -> bool {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX / 16);
        let word = millis * 8 + phase as u64;
        self.word
            .compare_exchange(seen.word, word, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Seen {
    /// When the phase has lasted too long.
    pub(super) fn deadline(&self, limits: &Limits, is_reserved: bool) -> Instant {
        let limit = match self.phase {
            Phase::Idle if is_reserved => limits.reserved_head,
            Phase::Idle => limits.idle,
            Phase::Head if is_reserved => limits.reserved_head,
            Phase::Head => limits.head,
            Phase::Body => limits.body,
            Phase::Work => limits.response,
            Phase::Closing => Duration::ZERO,
        };
        self.since + limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phase_begins_when_it_is_entered() {
        let activity = Activity::new();
        let opened = activity.seen();
        assert_eq!(opened.phase, Phase::Head);
        tokio::time::advance(Duration::from_secs(3)).await;
        activity.receive();
        assert_eq!(activity.seen(), opened, "a head lasts from its begin on");
        assert!(activity.enter(Phase::Body));
        activity.complete_body();
        let seen = activity.seen();
        assert_eq!((seen.phase, seen.since), (Phase::Work, Instant::now()));
        activity.complete_body();
        assert!(activity.enter(Phase::Idle));
        activity.receive();
        assert_eq!(activity.seen().phase, Phase::Head);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_began_a_request_is_not_closed() {
        let activity = Activity::new();
        let waiting = activity.seen();
        assert!(activity.enter(Phase::Work));
        assert!(!activity.close(waiting));
        let seen = activity.seen();
        assert!(activity.close(seen));
        activity.closed().await;
        assert!(!activity.enter(Phase::Work), "no request begins any more");
    }
}
