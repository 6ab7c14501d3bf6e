//! A fault as it is asked for, and as it stands once it is armed.

use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// A fault and the requests that it strikes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Which requests: `POST /v1/customers/{id}` as the routes are written, or with `*` for any text, as
    /// `GET /v1/customers*` or `*`. For webhook faults the type of the event, as `customer.updated` or `*`.
    #[serde(default = "everything")]
    pub on: String,
    #[serde(flatten)]
    pub kind: Kind,
    /// How often it strikes before it is used up; None strikes until it is cleared.
    #[serde(default = "once")]
    pub times: Option<u64>,
    /// How many requests that it could strike it lets pass first.
    #[serde(default)]
    pub skip: u64,
    /// How likely it strikes each of them, 0 to 1, drawn from the sandbox's seed.
    #[serde(default = "certain")]
    pub probability: f64,
}

/// A fault that was injected.
#[derive(Clone, Debug, Serialize)]
pub struct Armed {
    pub id: u64,
    #[serde(flatten)]
    pub fault: Fault,
    /// How often it struck.
    pub hits: u64,
    #[serde(skip)]
    pub(crate) seen: u64,
}

impl Fault {
    /// `kind` on the next request that is named by `on`.
    #[must_use]
    pub fn once(on: &str, kind: Kind) -> Self {
        Self {
            on: on.to_owned(),
            kind,
            times: once(),
            skip: 0,
            probability: certain(),
        }
    }

    /// `kind` on every request that is named by `on`, until it is cleared.
    #[must_use]
    pub fn always(on: &str, kind: Kind) -> Self {
        Self {
            times: None,
            ..Self::once(on, kind)
        }
    }

    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}

impl Armed {
    pub(crate) fn is_used_up(&self) -> bool {
        self.fault.times.is_some_and(|times| self.hits >= times)
    }
}

fn everything() -> String {
    "*".to_owned()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "serde takes the default of an Option from it"
)]
fn once() -> Option<u64> {
    Some(1)
}

fn certain() -> f64 {
    1.0
}

/// Whether `text` is `pattern` with each `*` standing for any text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_pattern_names_requests_by_route_or_by_path() {
        assert!(glob("*", "GET /v1/customers"));
        assert!(glob("GET /v1/customers*", "GET /v1/customers/cus_1"));
        assert!(glob("* /v1/customers/cus_1", "POST /v1/customers/cus_1"));
        assert!(!glob("GET /v1/customers", "GET /v1/customers/cus_1"));
        assert!(!glob("GET *events*", "GET /v1/customers"));
    }
}
