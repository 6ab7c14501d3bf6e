//! The limits of a server, and their defaults.

use std::time::Duration;

use crate::descriptors;

/// A request head, its first line and its headers. Larger ones are answered with 431.
pub(super) const HEAD_BYTES: usize = 32 * 1024;
/// What a connection buffers of requests and responses.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// A client that has made the server wait for so long gives its place to another one, while the maximum is reached.
pub(super) const EVICTABLE_AFTER: Duration = Duration::from_millis(50);

/// Connections above the maximum.
const RESERVED: usize = 32;

/// How many connections a server holds, and how long each state of one may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in total, besides the reserved ones.
    pub connections: usize,
    /// Connections from one address, or from one IPv6 network of 64 bits.
    pub per_peer: usize,
    /// Connections above the maximum, which get health checks answered and 503 for the rest.
    pub reserved: usize,
    /// From the first byte of a head to its last one; for a new connection from its acceptance on.
    pub head: Duration,
    /// The same for a head on a reserved connection.
    pub reserved_head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// From the end of the body to the response.
    pub response: Duration,
    /// From one response to the next request, and until the response is received.
    pub idle: Duration,
}

impl Limits {
    /// Limits for at most so many connections in total and per peer, that fit under the limit of open files with
    /// `reserved_descriptors` for other parts of the process.
    pub fn fitting(connections: usize, per_peer: usize, reserved_descriptors: usize) -> Self {
        let limit = descriptors::raise();
        let wanted = connections.saturating_add(RESERVED);
        let fit = descriptors::connections(limit, wanted, reserved_descriptors);
        let reserved = (fit / 4).min(RESERVED);
        let possible = connections.min(fit - reserved);
        if possible < connections {
            tracing::warn!(
                connections = possible,
                "the limit of open files, {limit}, allows fewer connections than the {connections} that are set"
            );
        }
        Self {
            connections: possible,
            per_peer: per_peer.min(possible),
            reserved,
            ..Self::default()
        }
    }
}

impl Limits {
    /// The shortest time that a phase may last.
    pub(super) fn shortest(&self) -> Duration {
        let others = [self.reserved_head, self.body, self.response, self.idle];
        others.into_iter().fold(self.head, Duration::min)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_peer: 512,
            reserved: RESERVED,
            head: Duration::from_secs(10),
            reserved_head: Duration::from_secs(2),
            body: Duration::from_secs(30),
            response: Duration::from_secs(120),
            idle: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_connections_fit_under_the_limit_too() {
        let enough = Limits::fitting(8, 4, 0);
        assert_eq!(
            (enough.connections, enough.per_peer, enough.reserved),
            (8, 4, 10)
        );
        let few = Limits::fitting(usize::MAX, usize::MAX, usize::MAX / 2);
        assert_eq!((few.connections, few.per_peer, few.reserved), (9, 9, 3));
    }
}
