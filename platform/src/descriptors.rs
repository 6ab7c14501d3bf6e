//! File descriptors: the soft limit of this process, and how many of them connections may use.

/// What a process opens besides its database and its connections: standard streams, log, listeners, epoll, signals,
/// a broker, and clients of other services.
const BASE: usize = 48;
/// Even a limit that leaves nothing lets some connections in: an exhausted limit is survived, see `http`.
const FEWEST_CONNECTIONS: usize = 12;

/// Raises the soft limit of open files to the hard one, and returns the limit that holds now.
pub fn raise() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::warn!("raising the limit of open files failed: {error}"),
        }
    }
    // No number means no limit.
    let current = limit
        .current
        .and_then(|number| usize::try_from(number).ok());
    current.unwrap_or(usize::MAX)
}

/// How many connections fit under the limit, at most `wanted`, when `reserved` descriptors are kept for the
/// database and other parts of the process.
pub fn connections(limit: usize, wanted: usize, reserved: usize) -> usize {
    let free = limit.saturating_sub(BASE + reserved);
    wanted.min(free.max(FEWEST_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(connections(usize::MAX, 1024, 16), 1024);
        assert_eq!(connections(1024, 1024, 16), 960);
        assert_eq!(connections(64, 1024, 16), FEWEST_CONNECTIONS);
        assert_eq!(connections(1024, 4, 16), 4);
    }

    #[test]
    fn soft_limit_is_the_hard_one_after_raise() {
        let limit = raise();
        let now = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(now.current.map_or(usize::MAX, |n| n as usize), limit);
    }
}
