//! How the API serves HTTP: connections, time limits, and draining.

use std::time::Duration;

use platform::config;
use platform::http::{Limits, Server};

/// How long requests may take to finish once connections are no longer accepted.
const GRACE: Duration = Duration::from_secs(10);
const DRAIN_DELAY_MAX: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

#[derive(clap::Args, Clone, Debug)]
#[group(id = "api_serving")]
pub struct Serving {
    /// Connections that the API holds at a time
    #[arg(
        long,
        env = "API_MAX_CONNECTIONS",
        default_value_t = 1024,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(8..=100_000),
    )]
    pub api_max_connections: u32,

    /// Connections from one address, or from one IPv6 network of 64 bits
    #[arg(
        long,
        env = "API_MAX_CONNECTIONS_PER_PEER",
        default_value_t = 512,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
    )]
    pub api_max_connections_per_peer: u32,

    /// How long a connection may be idle between two requests
    #[arg(
        long,
        env = "API_IDLE_TIMEOUT",
        default_value = "2m",
        value_name = "DURATION",
        value_parser = idle_timeout,
    )]
    pub api_idle_timeout: Duration,

    /// How long connections are still accepted after SIGTERM, while readiness is 503 already
    #[arg(
        long,
        env = "DRAIN_DELAY",
        default_value = "2s",
        value_name = "DURATION",
        value_parser = drain_delay,
    )]
    pub drain_delay: Duration,
}

impl Serving {
    /// The server, which leaves so many file descriptors to other parts of the process.
    pub fn server(&self, reserved_descriptors: usize) -> Server {
        let number = |setting: u32| usize::try_from(setting).unwrap_or(usize::MAX);
        let limits = Limits::fitting(
            number(self.api_max_connections),
            number(self.api_max_connections_per_peer),
            reserved_descriptors,
        );
        Server {
            name: "api",
            limits: Limits {
                idle: self.api_idle_timeout,
                ..limits
            },
            always: &[platform::admin::LIVE, platform::admin::READY],
            drain_delay: self.drain_delay,
            grace: GRACE,
        }
    }
}

fn drain_delay(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::ZERO, DRAIN_DELAY_MAX)
}

fn idle_timeout(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_secs(1), IDLE_TIMEOUT_MAX)
}

fn bounded(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let duration = config::duration(text)?;
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    Err(format!("must be between {min:?} and {max:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_bounds() {
        assert_eq!(drain_delay("0s"), Ok(Duration::ZERO));
        assert_eq!(drain_delay("30s"), Ok(DRAIN_DELAY_MAX));
        assert!(drain_delay("31s").unwrap_err().contains("30s"));
        assert!(idle_timeout("999ms").is_err());
        assert!(idle_timeout("soon").is_err());
    }
}
