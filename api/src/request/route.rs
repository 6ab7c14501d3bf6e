//! The routes by their patterns: what the log and the metrics call them, and which methods they know.

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method};
use poem::{PathPattern, Request};
use poem_openapi::OpenApi;

#[derive(Clone)]
pub(super) struct Route {
    pub(super) label: Arc<str>,
    pub(super) allow: HeaderValue,
}

/// The routes of the API. All others are for reading only and are called by their pattern.
pub(crate) struct Routes {
    known: HashMap<String, Route>,
    unknown: Route,
}

impl Routes {
    pub(crate) fn of_api(api: impl OpenApi) -> Self {
        let mut endpoints: HashMap<String, HashMap<Method, BoxEndpoint<'static>>> = HashMap::new();
        api.add_routes(&mut endpoints);
        let known = endpoints.into_iter().map(|(pattern, methods)| {
            let route = Route {
                // The only parameter of any path here.
                label: spelled(&pattern.replace(":param0", "{key}")).into(),
                allow: allow(methods.keys()),
            };
            (pattern, route)
        });
        Self {
            known: known.collect(),
            unknown: Route {
                label: "unknown".into(),
                allow: HeaderValue::from_static("GET, HEAD"),
            },
        }
    }

    /// And a route of another making.
    pub(crate) fn with(mut self, pattern: &'static str, method: &Method) -> Self {
        let route = Route {
            label: pattern.into(),
            allow: allow(std::iter::once(method)),
        };
        self.known.insert(pattern.to_owned(), route);
        self
    }

    pub(super) fn of(&self, pattern: Option<&PathPattern>) -> Route {
        let Some(PathPattern(pattern)) = pattern else {
            return self.unknown.clone();
        };
        self.known
            .get(&**pattern)
            .cloned()
            .unwrap_or_else(|| Route {
                label: pattern.clone(),
                ..self.unknown.clone()
            })
    }
}

/// poem takes a colon within a part of a path for a parameter. So a path that has one is declared by its encoded form, and
/// a request is routed by that.
const COLON: (&str, &str) = (":", "%3A");

/// A declared path as the spec and the log spell it.
pub(crate) fn spelled(pattern: &str) -> String {
    pattern.replace(COLON.1, COLON.0)
}

/// The request with the colons of its path encoded. No e-mail and no id has one.
pub(crate) fn routed(mut request: Request) -> Request {
    let uri = request.uri();
    if uri.path().contains(COLON.0) {
        let path = uri.path().replace(COLON.0, COLON.1);
        let query = uri.query().map(|query| format!("?{query}"));
        let encoded = format!("{path}{}", query.unwrap_or_default());
        if let Ok(encoded) = encoded.parse() {
            *request.uri_mut() = encoded;
        }
    }
    request
}

/// RFC 9110: a 405 lists the methods. What answers GET answers HEAD.
fn allow<'a>(methods: impl Iterator<Item = &'a Method>) -> HeaderValue {
    let mut names: Vec<_> = methods.map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    HeaderValue::try_from(names.join(", ")).expect("method names are plain")
}
