//! Protection against web sites that reach a local server through a user's browser: DNS rebinding is recognised by
//! `Host`, a cross-site request by `Origin` and `Sec-Fetch-Site`. Clients other than browsers send neither of the last
//! two.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use poem::Request;
use poem::http::header::{self, HeaderName};
use poem::http::uri::Authority;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hosts that a server may be called by.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    scope: Scope,
    /// Those that are configured, in lower case.
    names: Arc<[Name]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    /// `Host` is not checked.
    #[default]
    Any,
    /// Only this machine reaches the server: names and addresses of loopback.
    Loopback,
    /// Other machines reach it: also addresses, and names without a dot, which no public DNS server resolves.
    Network,
}

/// A configured host name or address, without scheme, port and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let host = host_of(text).filter(|host| *host == text);
        host.map(|host| Self(normal(host))).ok_or_else(|| {
            "must be a host name or an address, without scheme, port and path".to_owned()
        })
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the Host header names no host of this server")]
    Host,
    #[error("a page of another site sent this request")]
    CrossSite,
}

impl Hosts {
    /// Checks no `Host`; the names still count as origins.
    pub fn any(names: impl IntoIterator<Item = Name>) -> Self {
        Self {
            scope: Scope::Any,
            names: names.into_iter().collect(),
        }
    }

    /// The hosts of a server that listens on `bound`, and these names.
    pub fn of(bound: SocketAddr, names: impl IntoIterator<Item = Name>) -> Self {
        let scope = if bound.ip().to_canonical().is_loopback() {
            Scope::Loopback
        } else {
            Scope::Network
        };
        Self {
            scope,
            names: names.into_iter().collect(),
        }
    }

    /// Whether a request was sent to one of these hosts.
    ///
    /// # Errors
    /// When `Host`, or the authority of the request's target, is another one or absent.
    pub fn check_host(&self, request: &Request) -> Result<(), Refused> {
        if self.scope == Scope::Any {
            return Ok(());
        }
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let target = request.uri().authority().map(Authority::as_str);
        let is_admitted = |host: &str| host_of(host).is_some_and(|host| self.admits(host));
        let is_ours = hosts.next().is_none()
            && host.or(target).is_some_and(is_admitted)
            && target.is_none_or(is_admitted);
        if is_ours { Ok(()) } else { Err(Refused::Host) }
    }

    /// Whether a request that changes something was sent by a page of this server, or by no page.
    ///
    /// # Errors
    /// When `Origin` or `Sec-Fetch-Site` says that a page of another site sent it.
    pub fn check_origin(&self, request: &Request) -> Result<(), Refused> {
        if request.method().is_safe() {
            return Ok(());
        }
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        let origin = origins.next();
        if origins.next().is_some() {
            return Err(Refused::CrossSite);
        }
        let is_configured = |host: &str| self.names.iter().any(|name| name.0 == normal(host));
        let is_ours = match origin.map(|origin| origin.to_str().ok().and_then(authority_of)) {
            None => is_of_this_origin(request),
            Some(None) => false,
            Some(Some(authority)) => {
                let host = request.header(header::HOST);
                host_of(authority).is_some_and(is_configured)
                    || (host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
                        && is_of_this_origin(request))
            }
        };
        if is_ours {
            Ok(())
        } else {
            Err(Refused::CrossSite)
        }
    }

    fn admits(&self, host: &str) -> bool {
        let host = normal(host);
        if self.names.iter().any(|name| name.0 == host) {
            return true;
        }
        let is_open = self.scope == Scope::Network;
        if let Some(address) = address(&host) {
            return is_open || address.to_canonical().is_loopback();
        }
        host == "localhost" || host.ends_with(".localhost") || (is_open && !host.contains('.'))
    }
}

/// Browsers state it of every request, and no page can change it.
fn is_of_this_origin(request: &Request) -> bool {
    let mut sites = request.headers().get_all(SEC_FETCH_SITE).iter();
    sites.all(|site| site == "same-origin" || site == "none")
}

/// The authority of an origin such as `https://host:port`.
fn authority_of(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    matches!(scheme, "http" | "https").then_some(authority)
}

/// The host of `host` or `host:port`; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> Option<&str> {
    let parsed = Authority::from_str(authority).ok()?;
    if authority.contains('@') || parsed.host().is_empty() {
        return None;
    }
    let host = &authority[..parsed.host().len()];
    let rest = &authority[host.len()..];
    (rest.is_empty() || parsed.port().is_some()).then_some(host)
}

fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn address(host: &str) -> Option<IpAddr> {
    let text = host
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    text.unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use poem::http::Method;

    use super::*;

    fn hosts(bound: &str, names: &[&str]) -> Hosts {
        Hosts::of(
            bound.parse().unwrap(),
            names.iter().map(|name| name.parse().unwrap()),
        )
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let builder = Request::builder().method(method).uri_str("/");
        let add = |builder: poem::RequestBuilder, (name, value): &(&str, &str)| {
            builder.header(*name, *value)
        };
        headers.iter().fold(builder, add).finish()
    }

    fn admits(hosts: &Hosts, host: &str) -> bool {
        hosts
            .check_host(&request(Method::GET, &[("host", host)]))
            .is_ok()
    }

    #[test]
    fn loopback_server_is_called_by_loopback_names_only() {
        let hosts = hosts("127.0.0.1:8000", &["api.example.com"]);
        for ours in [
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.8.9.1:1",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "app.localhost:8000",
            "API.example.com:443",
        ] {
            assert!(admits(&hosts, ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:8000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "api.example.com.evil.example",
            "user@127.0.0.1",
            "127.0.0.1:x",
            "127.0.0.1, evil.example",
            "0.0.0.0:8000",
            "192.0.2.1:8000",
            "api",
        ] {
            assert!(!admits(&hosts, other), "{other}");
        }
    }

    #[test]
    fn network_server_is_called_by_addresses_and_local_names_too() {
        for bound in ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:8000"] {
            let hosts = hosts(bound, &[]);
            for ours in [
                "192.0.2.1:8000",
                "[2001:db8::1]",
                "api:8000",
                "localhost",
                "127.0.0.1",
            ] {
                assert!(admits(&hosts, ours), "{ours}");
            }
            assert!(!admits(&hosts, "evil.example"));
        }
    }

    #[test]
    fn host_is_given_once_and_as_the_target_names_it() {
        let hosts = hosts("127.0.0.1:8000", &[]);
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert!(hosts.check_host(&request(Method::GET, &twice)).is_err());
        assert!(hosts.check_host(&request(Method::GET, &[])).is_err());
        let target = |uri: &str| {
            let request = Request::builder().uri_str(uri).header("host", "localhost");
            hosts.check_host(&request.finish())
        };
        assert_eq!(target("http://127.0.0.1:8000/"), Ok(()));
        assert_eq!(target("http://evil.example/"), Err(Refused::Host));
        assert_eq!(
            Hosts::default().check_host(&request(Method::GET, &twice)),
            Ok(())
        );
    }

    #[test]
    fn state_change_comes_from_this_origin_or_from_no_page() {
        let hosts = hosts("127.0.0.1:8000", &["app.example.com"]);
        let check = |headers: &[(&str, &str)]| {
            let host = [("host", "localhost:8000")];
            let headers = [&host[..], headers].concat();
            let checked = hosts.check_origin(&request(Method::POST, &headers));
            assert_eq!(hosts.check_origin(&request(Method::GET, &headers)), Ok(()));
            checked.is_ok()
        };
        for ours in [
            &[][..],
            &[("origin", "http://localhost:8000")],
            &[
                ("origin", "https://LOCALHOST:8000"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[
                ("origin", "https://app.example.com"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(check(ours), "{ours:?}");
        }
        for other in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "http://localhost:9000")],
            &[("origin", "http://localhost")],
            &[("origin", "file://")],
            &[
                ("origin", "http://localhost:8000"),
                ("origin", "https://evil.example"),
            ],
            &[
                ("origin", "http://localhost:8000"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(!check(other), "{other:?}");
        }
    }

    #[test]
    fn configured_name_is_a_bare_host() {
        for good in [
            "api.example.com",
            "API",
            "192.0.2.1",
            "[::1]",
            " api.example.com ",
        ] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://api.example.com",
            "api:8000",
            "api/x",
            "a b",
            "user@api",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
