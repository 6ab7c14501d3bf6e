//! The database's URL, checked before any driver reads it: the drivers repeat what they cannot read, in errors and in the
//! log, and the URL holds a password.

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::SqliteConnectOptions;

use crate::config::Secret;

/// Why a URL is not used. Repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("the database URL is neither postgres://user:password@host:port/name nor sqlite:path")]
    Scheme,
    #[error(
        "the database URL names several hosts; name one, such as postgres://user:password@host:port/name"
    )]
    Hosts,
    #[error(
        "the database URL cannot be read as postgres://user:password@host:port/name; percent-encode the characters \
         / ? # @ : % [ ] of the password, such as %23 for #"
    )]
    Form,
    #[error("the database URL has the parameter {0}, which is not supported; remove it")]
    Unsupported(&'static str),
    #[error("the database URL has a parameter that is not known; remove it")]
    Unknown,
    #[error("the database URL has a parameter with a value that cannot be used")]
    Value,
    #[error("the database URL cannot be read as sqlite:path")]
    Sqlite,
}

/// The parameters that the driver of PostgreSQL uses.
const KNOWN: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Those that libpq knows as well, so that an error can name them. Of any other even the name may be a part of a password.
const UNSUPPORTED: [&str; 20] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "passfile",
    "require_auth",
    "service",
    "sslcompression",
    "sslcrl",
    "sslpassword",
    "ssl_min_protocol_version",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Whether a URL can be given to its driver.
///
/// # Errors
/// It is of another form, or has a parameter that the driver would not use.
pub(super) fn check(url: &Secret) -> Result<(), Invalid> {
    let text = url.expose();
    if text.starts_with("sqlite:") {
        return match text.parse::<SqliteConnectOptions>() {
            Ok(_) => Ok(()),
            Err(_) => Err(Invalid::Sqlite),
        };
    }
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"));
    let rest = rest.ok_or(Invalid::Scheme)?;
    // What stands behind it is in no part that the driver reads: most likely the rest of a password.
    if rest.contains('#') {
        return Err(Invalid::Form);
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    if hosts.contains(',') {
        return Err(Invalid::Hosts);
    }
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        check_name(&name)?;
    }
    // Without the parameters, so that an error tells of which part it is. It logs no unknown parameter any more.
    if format!("postgres://{place}")
        .parse::<PgConnectOptions>()
        .is_err()
    {
        return Err(Invalid::Form);
    }
    match text.parse::<PgConnectOptions>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Invalid::Value),
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let is_option = name.starts_with("options[") && name.ends_with(']');
    if is_option || KNOWN.contains(&name) {
        return Ok(());
    }
    let unsupported = UNSUPPORTED.into_iter().find(|known| *known == name);
    Err(unsupported.map_or(Invalid::Unknown, Invalid::Unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str) -> Result<(), Invalid> {
        check(&Secret::new(url))
    }

    #[test]
    fn urls_that_the_drivers_can_read_pass() {
        for url in [
            "postgres://app:pw@127.0.0.1:5432/app",
            "postgresql://app@db/app?sslmode=disable&application_name=x",
            "postgres:///app?host=/run/postgresql",
            "postgres://app:s%23c%40r%2Ft@db",
            "postgres://app@db/app?options[statement_timeout]=5s&options=-c%20jit%3Doff",
            "postgres://app@[::1]:5432/app",
            "sqlite:data.db",
            "sqlite::memory:",
            "sqlite://data.db?mode=rwc",
        ] {
            assert_eq!(checked(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_without_a_word_of_them() {
        for (url, expected) in [
            ("", Invalid::Scheme),
            ("hunter2", Invalid::Scheme),
            ("mysql://app:hunter2@db/app", Invalid::Scheme),
            ("postgresql+asyncpg://app:hunter2@db/app", Invalid::Scheme),
            ("postgres://app:hunter2#1@127.0.0.1/app", Invalid::Form),
            ("postgres://app:hun/ter2@127.0.0.1/app", Invalid::Form),
            ("postgres://app:5432@db/app#hunter2", Invalid::Form),
            ("postgres://app:hunter2@db:port/app", Invalid::Form),
            ("postgres://app:hunter2@a:1,b:2/app", Invalid::Hosts),
            (
                "postgres://app@db/app?sslmode=disable&sslpassword=hunter2",
                Invalid::Unsupported("sslpassword"),
            ),
            (
                "postgres://app@db/app?%73slpassword=hunter2",
                Invalid::Unsupported("sslpassword"),
            ),
            ("postgres://app:1?hunter2@db/app", Invalid::Unknown),
            ("postgres://app@db/app?hunter2", Invalid::Unknown),
            ("postgres://app@db/app?sslmode=hunter2", Invalid::Value),
            ("postgres://app@db/app?port=hunter2", Invalid::Value),
            ("sqlite:app.db?hunter2=hunter2", Invalid::Sqlite),
        ] {
            let error = checked(url).unwrap_err();
            assert_eq!(error, expected, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
