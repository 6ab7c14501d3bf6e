//! The page for people at `/`: sees and edits customers as Stripe's dashboard does, so its events name no
//! API request. Plain forms, no script, no login.

mod html;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::StatusCode;
use poem::web::{Data, Form, Path, Query};
use poem::{Response, Route, RouteMethod, get, handler, post};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::sandbox::handle::Sandbox;
use crate::sandbox::state::State;
use crate::wire::error::Error;
use crate::world::lock;

const PAGE: usize = 25;

pub(crate) fn index() -> RouteMethod {
    get(list)
}

pub(crate) fn routes() -> Route {
    Route::new()
        .at("/customers", post(create))
        .at("/customers/:id", get(show).post(edit))
        .at("/customers/:id/delete", post(remove))
}

type Shared<'a> = Data<&'a Arc<State>>;

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    email: String,
    /// Only customers older than this place in the order of creation.
    older: Option<usize>,
}

/// The fields that the forms have, and what they showed when they were opened. Metadata is not among them and
/// stays as it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    name: String,
    email: String,
    phone: String,
    description: String,
    was_name: String,
    was_email: String,
    was_phone: String,
    was_description: String,
}

impl Fields {
    /// Only what the human changed: a form that was open for long must not take other people's edits back.
    fn changes(&self) -> Vec<(&str, &str)> {
        let fields = [
            ("name", &self.name, &self.was_name),
            ("email", &self.email, &self.was_email),
            ("phone", &self.phone, &self.was_phone),
            ("description", &self.description, &self.was_description),
        ];
        let changed = fields.into_iter().filter(|(_, now, was)| now != was);
        changed.map(|(name, now, _)| (name, now.trim())).collect()
    }
}

#[handler]
fn list(Data(state): Shared<'_>, Query(search): Query<Search>) -> Response {
    let part = search.email.trim().to_lowercase();
    let (mut found, total) = {
        let world = lock(&state.world);
        let admits = |customer: &crate::world::customer::Customer| {
            part.is_empty()
                || customer
                    .email
                    .as_deref()
                    .is_some_and(|email| email.to_lowercase().contains(&part))
        };
        (
            world.customers.scan(search.older, None, PAGE + 1, admits),
            world.customers.live(),
        )
    };
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let older = found.last().filter(|_| more).map(|(place, _)| *place);
    let customers: Vec<_> = found.into_iter().map(|(_, customer)| customer).collect();
    let listing = html::Listing {
        customers: &customers,
        total,
        email: &search.email,
        older,
        first: search.older.is_none(),
    };
    page(html::list(&listing, &state.options.account_id))
}

#[handler]
fn show(Data(state): Shared<'_>, Path(id): Path<String>) -> Response {
    let found = lock(&state.world).customers.find(&id).cloned();
    match found {
        Some(customer) => page(html::show(&customer)),
        None => refused(&Error::no_such("customer", &id)),
    }
}

#[handler]
fn create(Data(state): Shared<'_>, Form(fields): Form<Fields>) -> Response {
    match Sandbox(state.clone()).create_as_human(&fields.changes()) {
        Ok(_) => see("/"),
        Err(error) => refused(&error),
    }
}

#[handler]
fn edit(Data(state): Shared<'_>, Path(id): Path<String>, Form(fields): Form<Fields>) -> Response {
    match Sandbox(state.clone()).edit_as_human(&id, &fields.changes()) {
        Ok(_) => see(&format!("/dashboard/customers/{id}")),
        Err(error) => refused(&error),
    }
}

#[handler]
fn remove(Data(state): Shared<'_>, Path(id): Path<String>) -> Response {
    match Sandbox(state.clone()).delete_as_human(&id) {
        Ok(()) => see("/"),
        Err(error) => refused(&error),
    }
}

/// A page of our own: its style, its forms, and nothing else.
fn page(html: String) -> Response {
    let digest = STANDARD.encode(Sha256::digest(html::STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header("content-security-policy", policy)
        .body(html)
}

fn see(place: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header("location", place)
        .finish()
}

fn refused(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut page = page(html::refused(&error.message));
    page.set_status(status);
    page
}
