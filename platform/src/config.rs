//! The flags and environment variables that every process shares, and the two rules about secrets:
//! they may come from a file, and they never reach a log.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;

use crate::broker::rabbitmq;
use crate::settings::is_quoted;

/// A text that is never printed: `Debug` and `Display` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

/// A duration in words, such as `10s`, `5m` or `1h 30m`; a `value_parser` for clap.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error} (write it as 500ms, 10s or 5m)"))
}

/// A duration from `shortest` to `longest`, in words; a `value_parser` for clap.
pub fn duration_between(
    shortest: Duration,
    longest: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let given = duration(text)?;
        let (from, to) = (
            humantime::format_duration(shortest),
            humantime::format_duration(longest),
        );
        (shortest..=longest)
            .contains(&given)
            .then_some(given)
            .ok_or_else(|| format!("must be from {from} to {to}"))
    }
}

/// Yes or no; a `value_parser` for clap. Empty is how compose files pass "not set".
///
/// # Errors
/// Another word.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "" | "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The secret called `name`, from its value or from its file, trimmed; an empty one counts as
/// absent.
///
/// # Errors
/// When both are given, or when the file can't be read. The error names `name`, never the value.
pub fn secret(
    value: &Option<Secret>,
    file: &Option<PathBuf>,
    name: &str,
) -> anyhow::Result<Option<Secret>> {
    let given = value.as_ref().map(|secret| secret.expose().trim());
    let given = given.filter(|text| !text.is_empty());
    // An empty NAME_FILE is what compose files pass for "not set".
    let file = file.as_ref().filter(|path| !path.as_os_str().is_empty());
    let text = match (given, file) {
        (Some(_), Some(_)) => {
            anyhow::bail!("{name} and {name}_FILE are both set; keep one of them")
        }
        (Some(text), None) => text.to_owned(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("reading {name}_FILE from {}", path.display()))?
            .trim()
            .to_owned(),
        (None, None) => return Ok(None),
    };
    if is_quoted(&text) {
        anyhow::bail!("{name} is set to a value in quotes; remove the quotes");
    }
    Ok(Some(text).filter(|text| !text.is_empty()).map(Secret))
}

/// Where the database is.
#[derive(clap::Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// The database, as postgres://user:password@host/name or sqlite:path
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,

    /// A file that holds the database's URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<PathBuf>,

    /// How many database connections this process may hold
    #[arg(
        long,
        env = "DATABASE_CONNECTIONS",
        default_value_t = 16,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000),
    )]
    pub database_connections: u32,
}

impl DatabaseArgs {
    /// The database's URL.
    ///
    /// # Errors
    /// When it is absent, given twice, or its file can't be read.
    pub fn url(&self) -> anyhow::Result<Secret> {
        secret(&self.database_url, &self.database_url_file, "DATABASE_URL")?
            .context("no database is named: set DATABASE_URL or DATABASE_URL_FILE")
    }
}

/// Where the broker is; without one the process uses the broker inside it.
#[derive(clap::Args, Clone, Debug)]
pub struct BrokerArgs {
    /// RabbitMQ, as amqp://user:password@host/vhost; absent: a broker inside this process
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub amqp_url: Option<Secret>,

    /// A file that holds RabbitMQ's URL
    #[arg(long, env = "AMQP_URL_FILE", value_name = "PATH")]
    pub amqp_url_file: Option<PathBuf>,
}

impl BrokerArgs {
    /// The broker's URL; `None` means the broker inside this process.
    ///
    /// # Errors
    /// When it is given twice, its file can't be read, or it is no URL of a broker.
    pub fn url(&self) -> anyhow::Result<Option<Secret>> {
        let url = secret(&self.amqp_url, &self.amqp_url_file, "AMQP_URL")?;
        if let Some(url) = &url {
            rabbitmq::parse_url(url).context("reading AMQP_URL")?;
        }
        Ok(url)
    }
}

/// How log lines look.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What is logged, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct LogArgs {
    /// How log lines look
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,

    /// What is logged, as level or as target=level pairs, such as info,sync_worker=debug
    #[arg(long, env = "LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        database: DatabaseArgs,
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        log: LogArgs,
    }

    fn given(text: &str) -> Option<Secret> {
        Some(Secret::new(text))
    }

    #[test]
    fn a_secret_is_never_printed() {
        let args = ["x", "--database-url", "hunter2", "--amqp-url", "hunter2"];
        let cli = Cli::try_parse_from(args).unwrap();
        let printed = format!("{:?} {:?} {:?}", cli.database, cli.broker, cli.log);
        assert!(!printed.contains("hunter2"), "{printed}");
        let secret = cli.database.url().unwrap();
        assert_eq!(
            (secret.to_string().as_str(), secret.expose()),
            ("***", "hunter2")
        );
    }

    #[test]
    fn a_secret_comes_from_its_value_or_its_file_without_the_space_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, " hunter2\n").unwrap();
        let file = Some(path);
        assert_eq!(secret(&None, &file, "KEY").unwrap(), given("hunter2"));
        assert_eq!(
            secret(&given(" hunter2 "), &None, "KEY").unwrap(),
            given("hunter2")
        );
        // Compose files pass what is not set as an empty text.
        assert_eq!(secret(&given(""), &file, "KEY").unwrap(), given("hunter2"));
        assert_eq!(
            secret(&given("hunter2"), &Some("".into()), "KEY").unwrap(),
            given("hunter2")
        );
        assert_eq!(secret(&given(" "), &None, "KEY").unwrap(), None);
        assert_eq!(secret(&None, &None, "KEY").unwrap(), None);
    }

    #[test]
    fn a_secret_given_twice_or_in_a_missing_file_is_an_error_that_names_it() {
        let both = secret(&given("hunter2"), &Some("/nowhere".into()), "KEY").unwrap_err();
        assert!(both.to_string().contains("KEY_FILE"), "{both:#}");
        let missing = secret(&None, &Some("/nowhere/secret".into()), "KEY").unwrap_err();
        assert!(
            missing
                .to_string()
                .contains("KEY_FILE from /nowhere/secret"),
            "{missing:#}"
        );
    }

    #[test]
    fn without_a_database_the_error_says_what_to_set() {
        let cli = Cli::try_parse_from(["x"]).unwrap();
        let error = cli.database.url().unwrap_err().to_string();
        assert!(error.contains("DATABASE_URL"), "{error}");
        assert_eq!(cli.broker.url().unwrap(), None);
        assert_eq!(cli.log.log_format, LogFormat::Text);
    }

    #[test]
    fn duration_outside_its_bounds_is_refused_with_both() {
        let parse = duration_between(Duration::from_secs(1), Duration::from_secs(3600));
        assert_eq!(parse("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(parse("1h"), Ok(Duration::from_secs(3600)));
        for text in ["0s", "999ms", "61m"] {
            assert_eq!(
                parse(text),
                Err("must be from 1s to 1h".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn connections_are_from_one_to_a_thousand() {
        for (text, is_valid) in [("0", false), ("1", true), ("1000", true), ("1001", false)] {
            let parsed = Cli::try_parse_from(["x", "--database-connections", text]);
            assert_eq!(parsed.is_ok(), is_valid, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_words() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("10").unwrap_err().contains("10s"));
    }
}
