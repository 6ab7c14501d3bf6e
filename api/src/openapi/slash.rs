//! Paths that end in a slash and answer without it as well. poem-openapi can declare neither.

use std::collections::HashMap;
use std::sync::Arc;

use poem::EndpointExt;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};

/// An API all of whose paths get a last slash, which the spec shows and callers may leave out.
#[derive(Clone)]
pub(crate) struct Slashed<A>(pub(crate) A);

type Methods = HashMap<Method, BoxEndpoint<'static>>;

impl<A: OpenApi> OpenApi for Slashed<A> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = A::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            path.path.push('/');
        }
        apis
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, Methods>) {
        let mut bare = HashMap::new();
        self.0.add_routes(&mut bare);
        for (path, methods) in bare {
            let mut slashed = Methods::new();
            let mut unslashed = Methods::new();
            for (method, endpoint) in methods {
                let endpoint = Arc::new(endpoint);
                slashed.insert(method.clone(), endpoint.clone().boxed());
                unslashed.insert(method, endpoint.boxed());
            }
            routes.insert(format!("{path}/"), slashed);
            routes.insert(path, unslashed);
        }
    }
}
