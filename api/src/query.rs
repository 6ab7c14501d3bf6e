//! The query parameters that an operation has: any other one is refused, because a filter with a typing error would be
//! ignored without notice.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use poem::http::Method;
use poem::{PathPattern, Request};
use poem_openapi::OpenApi;
use poem_openapi::registry::MetaParamIn;

use crate::problem::Problem;

/// Names by path and method. A parameter of the path is a star.
static KNOWN: LazyLock<HashMap<(String, Method), HashSet<String>>> = LazyLock::new(|| {
    let paths = crate::Api::meta().into_iter().flat_map(|api| api.paths);
    let operations = paths.flat_map(|path| {
        let name = shape(&path.path);
        path.operations.into_iter().map(move |operation| {
            let params = operation.params.into_iter();
            let queries = params.filter(|param| param.in_type == MetaParamIn::Query);
            let names = queries.map(|param| param.name).collect();
            ((name.clone(), operation.method), names)
        })
    });
    operations.collect()
});

const CHECKED: &str = "/api/v1/";
const SHOWN: usize = 64;

/// Refuses a parameter that the operation of this request does not have.
pub(crate) fn check(request: &Request) -> Result<(), Problem> {
    let (Some(query), Some(PathPattern(pattern))) =
        (request.uri().query(), request.data::<PathPattern>())
    else {
        return Ok(());
    };
    if !pattern.starts_with(CHECKED) {
        return Ok(());
    }
    let method = match request.method() {
        &Method::HEAD => Method::GET,
        method => method.clone(),
    };
    let Some(known) = KNOWN.get(&(shape(pattern), method)) else {
        return Ok(());
    };
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    match names.find(|name| !known.contains(&**name)) {
        None => Ok(()),
        Some(unknown) => {
            let name: String = unknown.chars().take(SHOWN).collect();
            Err(Problem::invalid(name, "unknown query parameter"))
        }
    }
}

fn shape(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let segments = path.split('/').map(|segment| {
        if segment.starts_with([':', '{']) {
            "*"
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_resource_api_is_known() {
        let list = ("/api/v1/customers".to_owned(), Method::GET);
        assert!(KNOWN[&list].contains("cursor"));
        let sync = ("/api/v1/customers/*/sync".to_owned(), Method::GET);
        assert_eq!(KNOWN[&sync], HashSet::from(["wait".to_owned()]));
    }
}
