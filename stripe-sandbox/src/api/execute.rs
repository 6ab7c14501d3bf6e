//! What an action does to the account, and the answer to it.

mod customers;
mod endpoints;
mod events;
mod list;

use std::sync::Mutex;

use serde_json::json;

use super::action::Action;
use super::answer::Answer;
use super::seam::Seam;
use crate::options::Options;
use crate::wire::error::Error;
use crate::world::{Cause, World, lock};

pub(crate) fn execute(
    world: &Mutex<World>,
    options: &Options,
    action: Action,
    cause: Cause,
    seam: &Seam,
) -> Result<Answer, Error> {
    match action {
        Action::Customers(action) => customers::execute(world, options, action, cause, seam),
        Action::Events(action) => events::execute(&mut lock(world), options, action, &cause),
        Action::Endpoints(action) => endpoints::execute(&mut lock(world), options, action, &cause),
        Action::Account(id) => account(options, &id),
    }
}

fn account(options: &Options, id: &str) -> Result<Answer, Error> {
    if !id.is_empty() && id != options.account_id {
        let message = format!(
            "The provided key does not have access to account '{id}' (or that account does not exist). Application access may have been revoked."
        );
        return Err(Error::invalid(403, message).code("account_invalid"));
    }
    Ok(Answer::json(&json!({
        "id": options.account_id,
        "object": "account",
        "business_profile": null,
        "business_type": "company",
        "capabilities": {},
        "charges_enabled": true,
        "controller": { "type": "account" },
        "country": "US",
        "default_currency": "usd",
        "details_submitted": true,
        "email": "sandbox@example.com",
        "metadata": {},
        "payouts_enabled": true,
        "type": "standard",
    })))
}
