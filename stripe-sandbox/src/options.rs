//! What a sandbox is opened with.

pub(crate) mod clock;

use std::path::PathBuf;
use std::time::Duration;

use platform::http::site::Name;

use self::clock::Clock;

/// Settings of one sandbox. `Options::default()` is an empty, in-memory account that accepts any test key.
#[derive(Clone, Debug)]
pub struct Options {
    /// The secret and restricted keys that are let in; empty lets in every `sk_test_…` and `rk_test_…`,
    /// or in live mode every `sk_live_…` and `rk_live_…`.
    pub api_keys: Vec<String>,
    /// Where the account is kept; `None` keeps it in memory only.
    pub file: Option<PathBuf>,
    pub clock: Clock,
    pub account_id: String,
    /// Live mode: every object says so, and only keys of live mode are let in.
    pub livemode: bool,
    /// The version that events are rendered at and that answers name when a request pins none.
    pub api_version: String,
    /// Makes identifiers repeatable; `None` draws them from the system.
    pub seed: Option<u64>,
    /// Whether an update that changes nothing raises `customer.updated` all the same. Stripe's own
    /// behaviour here is not documented.
    pub noop_update_emits: bool,
    /// What `starting_after` and `ending_before` do with the id of a deleted customer. Stripe's own behaviour
    /// here is not documented: true pages on from where it stood, false answers 400 `resource_missing`.
    pub deleted_cursor_works: bool,
    /// Whether e-mails with odd dots before the @, or with a domain in Unicode, answer 400 `email_invalid`. Whether Stripe
    /// takes them is not documented.
    pub strict_emails: bool,
    /// More requests in a second answer 429 `global-rate`; None admits all. Stripe's sandboxes admit 25.
    pub requests_per_second: Option<u32>,
    /// Events kept at most; the oldest go first. They go after 30 days in any case.
    pub max_events: usize,
    /// Saved idempotent answers kept at most; the oldest go first. They go after 24 hours in any case.
    pub max_idempotency_keys: usize,
    /// Webhook deliveries waiting or being retried at most; more are dropped with a warning.
    pub max_deliveries: usize,
    /// The waits between the tries of one webhook delivery; its length is the number of retries.
    pub webhook_backoff: Vec<Duration>,
    pub webhook_timeout: Duration,
    /// Hosts that requests may name besides the sandbox's own addresses and names without a dot.
    pub hosts: Vec<Name>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            file: None,
            clock: Clock::system(),
            account_id: "acct_1SandboxDefault00".to_owned(),
            livemode: false,
            api_version: "2026-09-30.endive".to_owned(),
            seed: None,
            noop_update_emits: false,
            deleted_cursor_works: true,
            strict_emails: false,
            requests_per_second: None,
            max_events: 1_000_000,
            max_idempotency_keys: 1_000_000,
            max_deliveries: 10_000,
            webhook_backoff: [1, 5, 30, 120, 600].map(Duration::from_secs).to_vec(),
            webhook_timeout: Duration::from_secs(10),
            hosts: Vec::new(),
        }
    }
}
