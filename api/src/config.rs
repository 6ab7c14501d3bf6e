//! Where the API listens and whom it lets in.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use entity::email;
use platform::config::{Secret, secret, switch};
use platform::http::site::{Hosts, Name};
use tokio::net::TcpListener;

use crate::auth::Keys;
use crate::serving::Serving;
use crate::webhook::WebhookSecrets;

#[derive(clap::Args, Clone, Debug)]
#[group(id = "api")]
pub struct Config {
    /// Where the API listens, as host:port
    #[arg(
        long,
        env = "API_LISTEN",
        default_value = "127.0.0.1:8000",
        value_name = "ADDRESS"
    )]
    pub api_listen: String,

    /// The keys that are let in, separated by commas; without one the API listens on loopback only
    #[arg(long, env = "API_KEYS", hide_env_values = true, value_name = "KEYS")]
    pub api_keys: Option<Secret>,

    /// A file that holds the keys, separated by commas or line ends
    #[arg(long, env = "API_KEYS_FILE", value_name = "PATH")]
    pub api_keys_file: Option<PathBuf>,

    /// The signing secrets of Stripe's webhook endpoints, separated by commas; without one no webhook is taken
    #[arg(
        long,
        env = "STRIPE_WEBHOOK_SECRET",
        hide_env_values = true,
        value_name = "SECRETS"
    )]
    pub stripe_webhook_secret: Option<Secret>,

    /// A file that holds the secrets, separated by commas or line ends
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET_FILE", value_name = "PATH")]
    pub stripe_webhook_secret_file: Option<PathBuf>,

    /// Listen beyond loopback without keys: only trusted peers can reach this port
    #[arg(long, env = "API_ANONYMOUS", value_parser = switch, value_name = "BOOL",
          default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub api_anonymous: bool,

    /// Hosts that requests may name in Host and Origin besides this server's own, separated by commas
    #[arg(long, env = "API_HOSTS", value_name = "HOSTS")]
    pub api_hosts: Option<String>,

    /// Where health and metrics are served without a key; absent: on API_LISTEN only
    #[arg(long, env = "API_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub api_admin_listen: Option<String>,

    /// Valid e-mails that are rejected all the same, for Stripe may reject them: dots, unicode-domains, or both
    #[arg(
        long,
        env = "EMAIL_REJECT",
        default_value = "",
        hide_default_value = true,
        value_name = "KINDS"
    )]
    pub email_reject: email::Policy,

    #[command(flatten)]
    pub serving: Serving,
}

impl Config {
    /// The keys that are let in.
    ///
    /// # Errors
    /// When they are given twice, their file can't be read, or the text holds no key.
    pub fn keys(&self) -> anyhow::Result<Keys> {
        let Some(text) = secret(&self.api_keys, &self.api_keys_file, "API_KEYS")? else {
            return Ok(Keys::none());
        };
        let keys = Keys::parse(&text);
        anyhow::ensure!(!keys.is_empty(), "API_KEYS holds no key between its commas");
        Ok(keys)
    }

    /// The secrets of Stripe's webhook endpoints.
    ///
    /// # Errors
    /// When they are given twice, their file can't be read, or one of them is no signing secret.
    pub fn webhook_secrets(&self) -> anyhow::Result<WebhookSecrets> {
        let text = secret(
            &self.stripe_webhook_secret,
            &self.stripe_webhook_secret_file,
            "STRIPE_WEBHOOK_SECRET",
        )?;
        let Some(text) = text else {
            return Ok(WebhookSecrets::default());
        };
        let secrets = WebhookSecrets::parse(&text);
        anyhow::ensure!(
            !secrets.is_empty() && secrets.have_the_prefix(),
            "STRIPE_WEBHOOK_SECRET must hold signing secrets, whsec_..., separated by commas"
        );
        Ok(secrets)
    }

    /// Empty is how compose files pass "not set".
    pub fn admin_listen(&self) -> Option<&str> {
        let address = self.api_admin_listen.as_deref();
        address.filter(|address| !address.is_empty())
    }

    /// The hosts that requests to `listener` may name. With keys any Host is accepted unless API_HOSTS is set, because a
    /// browser sends no key by itself.
    ///
    /// # Errors
    /// When API_HOSTS holds something other than hosts.
    pub fn hosts(&self, listener: &TcpListener) -> anyhow::Result<Hosts> {
        let texts = self.api_hosts.iter().flat_map(|text| text.split(','));
        let texts = texts.map(str::trim).filter(|text| !text.is_empty());
        let mut names: Vec<Name> = texts
            .map(|text| {
                text.parse()
                    .map_err(|error| anyhow::anyhow!("API_HOSTS: {text:?} {error}"))
            })
            .collect::<anyhow::Result<_>>()?;
        if names.is_empty() && !self.keys()?.is_empty() {
            return Ok(Hosts::default());
        }
        let bound = listener
            .local_addr()
            .context("reading the address that was bound")?;
        let host = self.api_listen.rsplit_once(':').map(|(host, _)| host);
        names.extend(host.and_then(|host| host.parse().ok()));
        Ok(Hosts::of(bound, names))
    }

    /// Listens, if that is safe.
    ///
    /// # Errors
    /// When the address can't be listened on, or reaches beyond loopback while nobody would need a key.
    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.api_listen)
            .await
            .with_context(|| {
                format!(
                    "reading API_LISTEN {}, which must be host:port",
                    self.api_listen
                )
            })?
            .collect();
        let is_open = addresses
            .iter()
            .any(|address| !address.ip().to_canonical().is_loopback());
        if is_open && !self.api_anonymous && self.keys()?.is_empty() {
            anyhow::bail!(
                "API_LISTEN {} reaches beyond this machine and nobody would need a key: set API_KEYS, \
                 or API_ANONYMOUS=true if only trusted peers can reach this port",
                self.api_listen
            );
        }
        platform::admin::bind(&self.api_listen).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        config: Config,
    }

    fn config(listen: &str, keys: Option<&str>, api_anonymous: bool) -> Config {
        use clap::Parser;
        let arguments = Arguments::parse_from(["api"]);
        Config {
            api_listen: listen.to_owned(),
            api_keys: keys.map(Secret::new),
            api_anonymous,
            ..arguments.config
        }
    }

    async fn admits(config: &Config, host: &str) -> anyhow::Result<bool> {
        let hosts = config.hosts(&config.bind().await?)?;
        let request = poem::Request::builder().header("host", host).finish();
        Ok(hosts.check_host(&request).is_ok())
    }

    #[tokio::test]
    async fn host_is_checked_without_keys_or_when_hosts_are_set() {
        let mut config = config("127.0.0.1:0", None, false);
        assert!(admits(&config, "localhost").await.unwrap());
        assert!(!admits(&config, "evil.example").await.unwrap());
        config.api_keys = Some(Secret::new("a-key"));
        assert!(admits(&config, "evil.example").await.unwrap());
        config.api_hosts = Some(" api.example.com, ".to_owned());
        assert!(!admits(&config, "evil.example").await.unwrap());
        assert!(admits(&config, "api.example.com").await.unwrap());
        assert!(admits(&config, "localhost:8000").await.unwrap());
        config.api_hosts = Some("https://api.example.com".to_owned());
        let refused = admits(&config, "localhost").await.unwrap_err().to_string();
        assert!(refused.contains("API_HOSTS"), "{refused}");
    }

    #[tokio::test]
    async fn it_listens_beyond_loopback_only_with_keys_or_when_told_to() {
        for listen in ["0.0.0.0:0", "[::]:0"] {
            for keys in [None, Some("")] {
                let refused = config(listen, keys, false).bind().await.unwrap_err();
                assert!(refused.to_string().contains("API_ANONYMOUS"), "{refused}");
            }
        }
        config("127.0.0.1:0", None, false).bind().await.unwrap();
        config("localhost:0", None, false).bind().await.unwrap();
        config("0.0.0.0:0", Some("a-key"), false)
            .bind()
            .await
            .unwrap();
        config("0.0.0.0:0", None, true).bind().await.unwrap();
    }

    #[test]
    fn list_without_a_key_is_refused() {
        for text in [",", " , ", "\n,"] {
            let error = config("127.0.0.1:0", Some(text), false)
                .keys()
                .err()
                .unwrap();
            assert!(error.to_string().contains("API_KEYS"), "{error}");
        }
        assert!(config("127.0.0.1:0", Some("a, b"), false).keys().is_ok());
    }

    #[test]
    fn webhook_secret_without_the_prefix_is_refused_unquoted() {
        for (text, is_valid) in [
            ("whsec_a", true),
            ("whsec_a, whsec_b", true),
            ("", true),
            (",", false),
            ("hunter2", false),
            ("whsec_a,hunter2", false),
            ("whsec_", false),
        ] {
            let mut config = config("127.0.0.1:0", None, false);
            config.stripe_webhook_secret = Some(Secret::new(text));
            let secrets = config.webhook_secrets();
            assert_eq!(secrets.is_ok(), is_valid, "{text}");
            if let Err(error) = secrets {
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn an_address_without_a_port_is_refused_by_name() {
        let refused = config("127.0.0.1", None, false).bind().await.unwrap_err();
        assert!(refused.to_string().contains("API_LISTEN"), "{refused}");
    }
}
