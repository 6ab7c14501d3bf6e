//! The page for people at `/`: sees and edits customers as Stripe's dashboard does, so its events name no
//! API request. Plain forms, no script, no login.

mod html;

use std::sync::Arc;

use poem::http::StatusCode;
use poem::web::{Data, Form, Html, Path, Query};
use poem::{IntoResponse, Request, Response, Route, RouteMethod, get, handler, post};
use serde::Deserialize;

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
fn list(Data(state): Shared<'_>, Query(search): Query<Search>) -> Html<String> {
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
    Html(html::list(&listing, &state.options.account_id))
}

#[handler]
fn show(Data(state): Shared<'_>, Path(id): Path<String>) -> Response {
    let found = lock(&state.world).customers.find(&id).cloned();
    match found {
        Some(customer) => Html(html::show(&customer)).into_response(),
        None => refused(&Error::no_such("customer", &id)),
    }
}

#[handler]
fn create(request: &Request, Data(state): Shared<'_>, Form(fields): Form<Fields>) -> Response {
    match own_page(request).and_then(|()| Sandbox(state.clone()).create_as_human(&fields.changes()))
    {
        Ok(_) => see("/"),
        Err(error) => refused(&error),
    }
}

#[handler]
fn edit(
    request: &Request,
    Data(state): Shared<'_>,
    Path(id): Path<String>,
    Form(fields): Form<Fields>,
) -> Response {
    match own_page(request)
        .and_then(|()| Sandbox(state.clone()).edit_as_human(&id, &fields.changes()))
    {
        Ok(_) => see(&format!("/dashboard/customers/{id}")),
        Err(error) => refused(&error),
    }
}

#[handler]
fn remove(request: &Request, Data(state): Shared<'_>, Path(id): Path<String>) -> Response {
    match own_page(request).and_then(|()| Sandbox(state.clone()).delete_as_human(&id)) {
        Ok(()) => see("/"),
        Err(error) => refused(&error),
    }
}

/// A page of another site must not send these forms through the browser of whoever runs the sandbox.
fn own_page(request: &Request) -> Result<(), Error> {
    let Some(origin) = request.header("origin") else {
        return Ok(());
    };
    let site = origin.split_once("://").map(|(_, site)| site);
    if site.is_some() && site == request.header("host") {
        return Ok(());
    }
    Err(Error::invalid(403, "This form was sent by another site."))
}

fn see(place: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header("location", place)
        .finish()
}

fn refused(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    Html(html::refused(&error.message))
        .with_status(status)
        .into_response()
}
