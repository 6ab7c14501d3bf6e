//! An operation with its parameters read and checked: nothing is left that could be refused for its form.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::route::{Operation, Route};
use crate::options::Options;
use crate::wire::error::Error;
use crate::wire::form::Form;
use crate::wire::page::{Window, take_limit};
use crate::world::customer::change::Change;
use crate::world::customer::search::Query;
use crate::world::customer::store;
use crate::world::endpoint;
use crate::world::event::log;

pub(crate) enum Action {
    Customers(Customers),
    Events(Events),
    Endpoints(Endpoints),
    /// The account of this id, or with an empty one the account of the key.
    Account(String),
}

pub(crate) enum Customers {
    Create(Change),
    Update(String, Change),
    Retrieve(String),
    List(store::Filter, Window),
    Search(Search),
    Delete(String),
}

pub(crate) enum Events {
    Retrieve(String),
    List(log::Filter, Window),
}

pub(crate) enum Endpoints {
    Create(endpoint::Change),
    Update(String, endpoint::Change),
    Retrieve(String),
    List(Window),
    Delete(String),
}

pub(crate) struct Search {
    pub(crate) query: Query,
    pub(crate) limit: usize,
    /// Only what is older than this place.
    pub(crate) before: Option<usize>,
    pub(crate) total_count: bool,
}

impl Action {
    pub(crate) fn prepare(route: &Route, mut form: Form, options: &Options) -> Result<Self, Error> {
        let form = &mut form;
        let expand = form.take_list("expand")?.unwrap_or_default();
        let id = route.id.clone();
        let action = match route.operation {
            Operation::CreateCustomer => {
                Self::Customers(Customers::Create(customer(form, true, options)?))
            }
            Operation::UpdateCustomer => {
                Self::Customers(Customers::Update(id, customer(form, false, options)?))
            }
            Operation::RetrieveCustomer => Self::Customers(Customers::Retrieve(id)),
            Operation::ListCustomers => Self::Customers(Customers::List(
                store::Filter::take(form)?,
                Window::take(form)?,
            )),
            Operation::SearchCustomers => {
                let total_count = expand.iter().any(|path| path == "total_count");
                Self::Customers(Customers::Search(Search::take(form, total_count)?))
            }
            Operation::DeleteCustomer => Self::Customers(Customers::Delete(id)),
            Operation::RetrieveEvent => Self::Events(Events::Retrieve(id)),
            Operation::ListEvents => {
                Self::Events(Events::List(log::Filter::take(form)?, Window::take(form)?))
            }
            Operation::RetrieveAccount => Self::Account(id),
            Operation::CreateEndpoint => {
                Self::Endpoints(Endpoints::Create(endpoint::Change::take(form, true)?))
            }
            Operation::UpdateEndpoint => {
                Self::Endpoints(Endpoints::Update(id, endpoint::Change::take(form, false)?))
            }
            Operation::RetrieveEndpoint => Self::Endpoints(Endpoints::Retrieve(id)),
            Operation::ListEndpoints => Self::Endpoints(Endpoints::List(Window::take(form)?)),
            Operation::DeleteEndpoint => Self::Endpoints(Endpoints::Delete(id)),
        };
        std::mem::take(form).finish()?;
        Ok(action)
    }
}

fn customer(form: &mut Form, creating: bool, options: &Options) -> Result<Change, Error> {
    let change = Change::take(form, creating)?;
    if options.strict_emails {
        change.check_strictly()?;
    }
    Ok(change)
}

impl Search {
    fn take(form: &mut Form, total_count: bool) -> Result<Self, Error> {
        let Some(query) = form.take("query")? else {
            return Err(
                Error::bad("query", "Missing required param: query.").code("parameter_missing")
            );
        };
        let before = match form.take("page")? {
            None => None,
            Some(token) => {
                Some(read_page(&token).ok_or_else(|| Error::bad("page", "Invalid page token."))?)
            }
        };
        Ok(Self {
            query: Query::parse(&query)?,
            limit: take_limit(form)?,
            before,
            total_count,
        })
    }
}

/// The opaque `next_page` after the match at `place`.
pub(crate) fn page_token(place: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("before:{place}"))
}

fn read_page(token: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix("before:")?.parse().ok()
}
