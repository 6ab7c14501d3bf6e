//! The spec, and the page that shows it. The page brings its own scripts, so it works without the internet.

mod document;
mod node;
mod page;
mod policy;
mod slash;

use poem::web::Redirect;
use poem::{Response, Route, endpoint::make_sync, get};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};

use page::Page;
pub(crate) use slash::Slashed;

const DESCRIPTION: &str = "Customers that are kept in a database and in Stripe in step. A write is answered as soon as \
it is in the database; it needs neither a broker nor Stripe. Every refusal is problem+json (RFC 9457) with a stable \
`code`. Every answer carries X-Request-Id; a sane one that the caller sends is taken over. `traceparent` (W3C) is \
honoured.";

pub(crate) fn service<A: OpenApi>(api: A) -> OpenApiService<A, ()> {
    OpenApiService::new(api, "customer-sync", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .server("/")
}

/// The spec as it is served.
pub(crate) fn document<A: OpenApi>(service: &OpenApiService<A, ()>) -> String {
    document::complete(&service.spec())
}

/// `/docs`, `/openapi.json`, and `/` on the way to the docs.
pub(crate) fn routes<A: OpenApi + 'static>(route: Route, service: &OpenApiService<A, ()>) -> Route {
    let spec = document(service);
    let page = Page::new(&service.swagger_ui_html().replace(&service.spec(), &spec));
    route
        .at("/", get(make_sync(|_| Redirect::see_other("/docs"))))
        .at(
            "/docs",
            get(make_sync(move |request| page.response(&request))),
        )
        .at(
            "/openapi.json",
            get(make_sync(move |_| {
                Response::builder()
                    .content_type("application/json")
                    .header("cache-control", "no-cache")
                    .body(spec.clone())
            })),
        )
}
