//! The operations of the API and the URLs they have.

use crate::wire::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateCustomer,
    UpdateCustomer,
    RetrieveCustomer,
    ListCustomers,
    SearchCustomers,
    DeleteCustomer,
    RetrieveEvent,
    ListEvents,
    RetrieveAccount,
    CreateEndpoint,
    UpdateEndpoint,
    RetrieveEndpoint,
    ListEndpoints,
    DeleteEndpoint,
}

/// An operation and the id in its URL, empty where it has none.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) id: String,
}

impl Route {
    pub(crate) fn find(method: &str, path: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = path
            .trim_start_matches('/')
            .trim_end_matches('/')
            .split('/')
            .collect();
        let (operation, id) = match (method, parts.as_slice()) {
            ("POST", ["v1", "customers"]) => (Operation::CreateCustomer, ""),
            ("GET", ["v1", "customers"]) => (Operation::ListCustomers, ""),
            ("GET", ["v1", "customers", "search"]) => (Operation::SearchCustomers, ""),
            ("POST", ["v1", "customers", id]) => (Operation::UpdateCustomer, *id),
            ("GET", ["v1", "customers", id]) => (Operation::RetrieveCustomer, *id),
            ("DELETE", ["v1", "customers", id]) => (Operation::DeleteCustomer, *id),
            ("GET", ["v1", "events"]) => (Operation::ListEvents, ""),
            ("GET", ["v1", "events", id]) => (Operation::RetrieveEvent, *id),
            ("GET", ["v1", "account"]) => (Operation::RetrieveAccount, ""),
            ("GET", ["v1", "accounts", id]) => (Operation::RetrieveAccount, *id),
            ("POST", ["v1", "webhook_endpoints"]) => (Operation::CreateEndpoint, ""),
            ("GET", ["v1", "webhook_endpoints"]) => (Operation::ListEndpoints, ""),
            ("POST", ["v1", "webhook_endpoints", id]) => (Operation::UpdateEndpoint, *id),
            ("GET", ["v1", "webhook_endpoints", id]) => (Operation::RetrieveEndpoint, *id),
            ("DELETE", ["v1", "webhook_endpoints", id]) => (Operation::DeleteEndpoint, *id),
            _ => {
                let message = format!(
                    "Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing slash. If you are trying to retrieve an object, make sure you passed a valid (non-empty) identifier in your code. Please see https://stripe.com/docs or we can help at https://support.stripe.com/."
                );
                return Err(Error::invalid(404, message));
            }
        };
        Ok(Self {
            operation,
            id: id.to_owned(),
        })
    }

    /// The method and URL with the id left open; requests are counted by it.
    pub(crate) fn pattern(&self) -> &'static str {
        match self.operation {
            Operation::CreateCustomer => "POST /v1/customers",
            Operation::UpdateCustomer => "POST /v1/customers/{id}",
            Operation::RetrieveCustomer => "GET /v1/customers/{id}",
            Operation::ListCustomers => "GET /v1/customers",
            Operation::SearchCustomers => "GET /v1/customers/search",
            Operation::DeleteCustomer => "DELETE /v1/customers/{id}",
            Operation::RetrieveEvent => "GET /v1/events/{id}",
            Operation::ListEvents => "GET /v1/events",
            Operation::RetrieveAccount => "GET /v1/account",
            Operation::CreateEndpoint => "POST /v1/webhook_endpoints",
            Operation::UpdateEndpoint => "POST /v1/webhook_endpoints/{id}",
            Operation::RetrieveEndpoint => "GET /v1/webhook_endpoints/{id}",
            Operation::ListEndpoints => "GET /v1/webhook_endpoints",
            Operation::DeleteEndpoint => "DELETE /v1/webhook_endpoints/{id}",
        }
    }
}
