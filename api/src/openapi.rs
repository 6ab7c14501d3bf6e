//! The spec, and the page that shows it. The page brings its own scripts, so it works without the internet.

mod policy;
mod slash;

use poem::web::Redirect;
use poem::{Response, Route, endpoint::make_sync, get};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};

pub(crate) use slash::Slashed;

const DESCRIPTION: &str = "Customers that are kept in a database and in Stripe in step. A write is answered as soon as \
it is in the database; it needs neither a broker nor Stripe. Every refusal is problem+json (RFC 9457) with a stable \
`code`. Every answer carries X-Request-Id; a sane one that the caller sends is taken over. `traceparent` (W3C) is \
honoured.";

/// What `entity::email` accepts.
const EMAIL: &str = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";

pub(crate) fn service<A: OpenApi>(api: A) -> OpenApiService<A, ()> {
    OpenApiService::new(api, "customer-sync", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("MIT OR Apache-2.0"))
        .server("/")
}

/// The spec as it is served: poem-openapi's, and what that has no words for. It is completed as text, because a JSON
/// value would put its members into the order of the alphabet.
pub(crate) fn document<A: OpenApi>(service: &OpenApiService<A, ()>) -> String {
    let mut spec = service.spec();
    for schema in ["NewCustomer", "CustomerPatch", "Resolution", "Linking"] {
        let open = format!("\"{schema}\": {{\n        \"type\": \"object\",");
        let closed = format!("{open}\n        \"additionalProperties\": false,");
        spec = spec.replace(&open, &closed);
    }
    let email = "\"email\": {\n            \"type\": \"string\",";
    let pattern = serde_json::to_string(EMAIL).expect("a text is JSON");
    spec = spec.replace(
        email,
        &format!("{email}\n            \"pattern\": {pattern},"),
    );
    // It writes header names in capitals, as nobody else does.
    for header in ["ETag", "Location", "Idempotent-Replayed"] {
        let capitals = format!("\"{}\": {{", header.to_uppercase());
        spec = spec.replace(&capitals, &format!("\"{header}\": {{"));
    }
    spec.push('\n');
    spec
}

/// `/docs`, `/openapi.json`, and `/` on the way to the docs.
pub(crate) fn routes<A: OpenApi + 'static>(route: Route, service: &OpenApiService<A, ()>) -> Route {
    let spec = document(service);
    let page = service.swagger_ui_html().replace(&service.spec(), &spec);
    // As a browser reads it, so that the digests in the policy are those of what it sees.
    let page = page.replace("\r\n", "\n");
    let policy = policy::of(&page);
    route
        .at("/", get(make_sync(|_| Redirect::see_other("/docs"))))
        .at(
            "/docs",
            get(make_sync(move |_| {
                Response::builder()
                    .content_type("text/html; charset=utf-8")
                    .header("content-security-policy", &policy)
                    .body(page.clone())
            })),
        )
        .at(
            "/openapi.json",
            get(make_sync(move |_| {
                Response::builder()
                    .content_type("application/json")
                    .body(spec.clone())
            })),
        )
}
