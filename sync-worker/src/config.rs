//! The worker's settings: flags and environment.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use entity::merge::Owners;
use platform::config::{self, Secret};

use crate::downsync::scan::Intervals;
use crate::policy::{DeleteCap, LinkByEmail, OnDelete, Policy};
use crate::stripe::{API_BASE, Options, Stripe};

/// The key that the sandbox is used with where no other is given.
const SANDBOX_KEY: &str = "sk_test_sandbox";

/// The account that the sandbox has unless it is started with another one.
pub const SANDBOX_ACCOUNT: &str = "acct_1SandboxDefault00";

/// Names that other programs have for these settings.
pub const MISTAKEN_NAMES: [(&str, &str); 8] = [
    ("STRIPE_API_KEY", "STRIPE_SECRET_KEY"),
    ("STRIPE_KEY", "STRIPE_SECRET_KEY"),
    ("STRIPE_SECRET", "STRIPE_SECRET_KEY"),
    ("STRIPE_PRIVATE_KEY", "STRIPE_SECRET_KEY"),
    ("STRIPE_RESTRICTED_KEY", "STRIPE_SECRET_KEY"),
    ("STRIPE_API_URL", "STRIPE_API_BASE"),
    ("STRIPE_BASE_URL", "STRIPE_API_BASE"),
    ("STRIPE_API_HOST", "STRIPE_API_BASE"),
];

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Args, Clone, Debug)]
#[group(id = "sync_worker")]
#[command(next_help_heading = "Stripe")]
pub struct Config {
    /// Stripe's secret or restricted key (Customers: write, Events: read); without one the sandbox, see STRIPE_SANDBOX
    #[arg(
        long,
        env = "STRIPE_SECRET_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    stripe_secret_key: Option<Secret>,
    /// A file that holds the key
    #[arg(long, env = "STRIPE_SECRET_KEY_FILE", value_name = "PATH")]
    stripe_secret_key_file: Option<PathBuf>,
    /// Where the API is; https://api.stripe.com with a key, the sandbox without.
    #[arg(long, env = "STRIPE_API_BASE", value_name = "URL")]
    stripe_api_base: Option<String>,
    /// The account of the key, acct_..., for a server of STRIPE_API_BASE that has no /v1/account.
    #[arg(long, env = "STRIPE_ACCOUNT", value_name = "ACCOUNT", value_parser = account)]
    stripe_account: Option<String>,
    /// Use the sandbox while no key is set: true or false. Where PostgreSQL or RabbitMQ is configured, the sandbox has
    /// to be requested.
    #[arg(long, env = "STRIPE_SANDBOX", value_name = "BOOL", value_parser = config::switch)]
    stripe_sandbox: Option<bool>,
    /// Where the sandbox listens.
    #[arg(long, env = "SANDBOX_LISTEN", default_value = "127.0.0.1:12111")]
    pub sandbox_listen: String,
    /// Requests a second, of all workers and lanes together.
    #[arg(long, env = "STRIPE_RATE", default_value_t = 20.0, value_parser = rate)]
    stripe_rate: f64,
    /// How long one request may take.
    #[arg(long, env = "STRIPE_TIMEOUT", default_value = "15s",
          value_parser = config::duration_between(SECOND, Duration::from_secs(20)))]
    stripe_timeout: Duration,
    /// How often Stripe's events are read.
    #[arg(long, env = "DOWNSYNC_INTERVAL", default_value = "10s",
          value_parser = config::duration_between(Duration::from_millis(100), DAY))]
    downsync_interval: Duration,
    /// How often every customer in Stripe is compared; also done at the start.
    #[arg(long, env = "FULL_PASS_INTERVAL", default_value = "1h",
          value_parser = config::duration_between(SECOND, 30 * DAY))]
    full_pass_interval: Duration,
    /// What deleting a customer here does in Stripe: delete (which ends its subscriptions at once), or
    /// detach.
    #[arg(long, env = "ON_DATABASE_DELETE", default_value = "delete")]
    on_database_delete: OnDelete,
    /// What deleting a customer in Stripe does here: delete or detach.
    #[arg(long, env = "ON_STRIPE_DELETE", default_value = "delete")]
    on_stripe_delete: OnDelete,
    /// Who wins a field that both sides changed: database, stripe or manual, for all fields or by
    /// field, as in name=stripe,phone=manual.
    #[arg(long, env = "FIELD_OWNER", default_value = "database")]
    field_owner: Owners,
    /// Whether a row and a Stripe customer that share only the e-mail are linked: on or review.
    #[arg(long, env = "LINK_BY_EMAIL", default_value = "on")]
    link_by_email: LinkByEmail,
    /// A full pass brings home at most so many deletions; more are refused until a person looks.
    #[arg(long, env = "MAX_DELETES", default_value_t = 100)]
    max_deletes: u64,
    /// And at most this share of the linked customers, once there are more than ten.
    #[arg(long, env = "MAX_DELETE_PERCENT", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(..=100))]
    max_delete_percent: u64,
    /// Publish the customers that a full pass imports: true or false
    #[arg(long, env = "PUBLISH_IMPORTS", value_name = "BOOL", default_value = "true", value_parser = config::switch)]
    publish_imports: bool,
    /// How long it is kept what happened to a customer.
    #[arg(long, env = "TIMELINE_KEPT", default_value = "30d",
          value_parser = config::duration_between(Duration::ZERO, 3650 * DAY))]
    timeline_kept: Duration,
    /// Reads of Stripe that a month may cost: more are foretold and told, and never stopped.
    #[arg(long, env = "STRIPE_READ_BUDGET", value_parser = clap::value_parser!(i64).range(1..))]
    stripe_read_budget: Option<i64>,
}

impl Config {
    /// Whether the sandbox stands in for Stripe: no key and no other server is set.
    pub fn uses_sandbox(&self) -> anyhow::Result<bool> {
        Ok(self.secret_key()?.is_none() && self.api_base().is_none())
    }

    /// Makes sure that a sandbox stands in for Stripe on purpose.
    ///
    /// # Errors
    /// No key is set, and the sandbox is not requested although the process `has_servers`, PostgreSQL or RabbitMQ.
    pub fn check_sandbox(&self, has_servers: bool) -> anyhow::Result<()> {
        if !self.uses_sandbox()? || self.stripe_sandbox.unwrap_or(!has_servers) {
            return Ok(());
        }
        let why = match self.stripe_sandbox {
            Some(_) => "STRIPE_SANDBOX is false",
            None => "with PostgreSQL or RabbitMQ the sandbox is used on request only",
        };
        bail!(
            "no Stripe key is set, and {why}: set STRIPE_SECRET_KEY, or STRIPE_SANDBOX=true to use the sandbox"
        )
    }

    /// The client.
    ///
    /// # Errors
    /// A setting that makes no sense; the text names it.
    pub fn stripe(&self) -> anyhow::Result<Stripe> {
        let key = self.secret_key()?;
        ensure!(
            self.stripe_account.is_none() || !self.is_stripe_itself(),
            "STRIPE_ACCOUNT is for another server than Stripe's own, which names the account of the key itself: unset \
             STRIPE_ACCOUNT, or set STRIPE_API_BASE"
        );
        let default_base = match key {
            Some(_) => API_BASE.to_owned(),
            None => format!("http://{}", self.sandbox_listen),
        };
        let key = match key {
            Some(key) => key,
            None => SANDBOX_KEY.parse().map_err(anyhow::Error::msg)?,
        };
        let base = self.api_base().unwrap_or(default_base);
        Stripe::new(Options {
            account: self.stripe_account.clone(),
            timeout: self.stripe_timeout,
            rate: self.stripe_rate,
            ..Options::new(key, base)
        })
    }

    pub fn policy(&self) -> Policy {
        Policy {
            on_database_delete: self.on_database_delete,
            on_stripe_delete: self.on_stripe_delete,
            owners: self.field_owner,
            link_by_email: self.link_by_email,
            delete_cap: DeleteCap {
                count: self.max_deletes,
                percent: self.max_delete_percent,
            },
            publish_imports: self.publish_imports,
            timeline_kept: self.timeline_kept,
            read_budget: self.stripe_read_budget,
            ..Policy::default()
        }
    }

    pub fn intervals(&self) -> Intervals {
        Intervals {
            events: self.downsync_interval,
            full_pass: self.full_pass_interval,
        }
    }

    fn secret_key(&self) -> anyhow::Result<Option<Secret>> {
        let key = config::secret(
            &self.stripe_secret_key,
            &self.stripe_secret_key_file,
            "STRIPE_SECRET_KEY",
        )?;
        if let Some(key) = &key {
            let has =
                |prefixes: [&str; 2]| prefixes.iter().any(|one| key.expose().starts_with(one));
            let is_foreign = !self.is_stripe_itself() && !has(["pk_", "whsec_"]);
            ensure!(
                is_foreign || has(["sk_", "rk_"]),
                "STRIPE_SECRET_KEY must be a secret key (sk_...) or a restricted key (rk_...); a publishable key \
                 (pk_...) cannot write, and whsec_... is a webhook's signing secret"
            );
        }
        Ok(key)
    }

    /// Whether a key is sent to Stripe and not to a server of another.
    fn is_stripe_itself(&self) -> bool {
        let Some(base) = self.api_base() else {
            return self.stripe_secret_key.is_some() || self.stripe_secret_key_file.is_some();
        };
        let url = reqwest::Url::parse(&base).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str);
        host.is_some_and(|host| host == "stripe.com" || host.ends_with(".stripe.com"))
    }

    fn api_base(&self) -> Option<String> {
        let base = self.stripe_api_base.as_deref().unwrap_or_default().trim();
        (!base.is_empty()).then(|| base.to_owned())
    }
}

/// The id of an account.
fn account(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("acct_").unwrap_or_default();
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_id
        .then(|| text.to_owned())
        .ok_or_else(|| "must be acct_ and letters or digits".to_owned())
}

/// A rate in requests per second.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .parse()
        .map_err(|_| "must be a number of requests per second, such as 20".to_owned())?;
    (rate > 0.0 && rate <= 100_000.0)
        .then_some(rate)
        .ok_or_else(|| "must be above 0 and at most 100000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    fn config(args: &[&str]) -> Result<Config, String> {
        let args = ["x"].iter().chain(args);
        let cli = Cli::try_parse_from(args).map_err(|error| error.to_string())?;
        Ok(cli.config)
    }

    #[test]
    fn setting_outside_its_bounds_is_refused() {
        for (flag, refused, accepted) in [
            ("--downsync-interval", "0s", "100ms"),
            ("--downsync-interval", "2d", "1d"),
            ("--full-pass-interval", "0s", "1s"),
            ("--full-pass-interval", "31d", "30d"),
            ("--stripe-timeout", "0s", "1s"),
            ("--stripe-timeout", "21s", "20s"),
            ("--stripe-rate", "0", "0.5"),
            ("--stripe-rate", "NaN", "20"),
            ("--stripe-rate", "inf", "100000"),
            ("--max-delete-percent", "101", "100"),
            ("--timeline-kept", "3651d", "0s"),
            ("--stripe-read-budget", "0", "1"),
        ] {
            let error = config(&[flag, refused]).unwrap_err();
            assert!(error.contains(flag), "{error}");
            assert!(config(&[flag, accepted]).is_ok(), "{flag} {accepted}");
        }
    }

    #[test]
    fn text_that_cannot_be_a_secret_key_is_refused_unquoted() {
        for text in ["foo", "pk_test_hunter2", "whsec_hunter2"] {
            let error = config(&["--stripe-secret-key", text]).unwrap().stripe();
            let error = format!("{:#}", error.err().unwrap());
            assert!(error.contains("STRIPE_SECRET_KEY"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for text in ["sk_test_x", "rk_live_x", " sk_test_x\n", ""] {
            assert!(
                config(&["--stripe-secret-key", text])
                    .unwrap()
                    .stripe()
                    .is_ok()
            );
        }
    }

    #[test]
    fn other_server_accepts_keys_of_its_own_form() {
        let with = |base: &str, key: &str| {
            let args = ["--stripe-api-base", base, "--stripe-secret-key", key];
            config(&args).unwrap().stripe().is_ok()
        };
        assert!(with("http://127.0.0.1:8420", "anything"));
        assert!(with("http://127.0.0.1:8420", "sk_test_x"));
        assert!(!with("http://127.0.0.1:8420", "pk_test_x"));
        assert!(!with("http://127.0.0.1:8420", "whsec_x"));
        assert!(!with("https://api.stripe.com", "anything"));
        assert!(with("https://api.stripe.com/", "rk_live_x"));
    }

    #[test]
    fn stated_account_is_for_another_server_only() {
        let key = ["--stripe-secret-key", "sk_test_x"];
        let account = ["--stripe-account", "acct_1"];
        let base = ["--stripe-api-base", "http://127.0.0.1:8420"];
        let stripes = config(&[key, account].concat()).unwrap().stripe();
        let error = stripes.err().unwrap().to_string();
        assert!(error.contains("STRIPE_ACCOUNT"), "{error}");
        let other = config(&[key, account, base].concat()).unwrap().stripe();
        assert!(other.unwrap().states_account());
        assert!(config(&["--stripe-account", "1"]).is_err());
    }

    #[test]
    fn sandbox_is_requested_where_servers_are_configured() {
        let check = |args: &[&str], has_servers| config(args).unwrap().check_sandbox(has_servers);
        check(&[], false).unwrap();
        let error = check(&[], true).unwrap_err().to_string();
        assert!(error.contains("STRIPE_SANDBOX=true"), "{error}");
        check(&["--stripe-sandbox", "true"], true).unwrap();
        assert!(check(&["--stripe-sandbox", "false"], false).is_err());
        check(&["--stripe-secret-key", "sk_test_x"], true).unwrap();
        check(&["--stripe-api-base", "http://127.0.0.1:1"], true).unwrap();
    }
}
