//! Customers: create, change, delete, read, list, search.

use std::sync::Mutex;

use serde::Serialize;

use super::list::List;
use crate::api::action::{Customers, Search, page_token};
use crate::api::answer::Answer;
use crate::api::seam::Seam;
use crate::options::Options;
use crate::wire::error::Error;
use crate::world::customer::Customer;
use crate::world::customer::view::View;
use crate::world::{Cause, World, lock};

#[derive(Serialize)]
struct SearchResult<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    next_page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<usize>,
    url: &'static str,
}

pub(crate) fn execute(
    world: &Mutex<World>,
    options: &Options,
    action: Customers,
    cause: Cause,
    seam: &Seam,
) -> Result<Answer, Error> {
    match action {
        Customers::Create(change) => {
            let customer = lock(world).create_customer(change, cause)?;
            Ok(Answer::customer(&customer, options.livemode).saved_with_effect())
        }
        Customers::Update(id, change) => {
            let customer = lock(world).update_customer(&id, change, cause)?;
            Ok(Answer::customer(&customer, options.livemode).saved_with_effect())
        }
        Customers::Delete(id) => {
            let tombstone = lock(world).delete_customer(&id, cause)?;
            Ok(Answer::customer(&tombstone, options.livemode))
        }
        Customers::Retrieve(id) => {
            let found = lock(world).customers.find(&id).cloned();
            let customer = found.ok_or_else(|| Error::no_such("customer", &id))?;
            Ok(Answer::customer(&customer, options.livemode))
        }
        Customers::List(filter, window) => {
            let page =
                lock(world)
                    .customers
                    .page(&filter, &window, options.deleted_cursor_works)?;
            let livemode = options.livemode;
            let view = |customer| View { customer, livemode };
            let data = page.items.iter().map(|customer| view(customer)).collect();
            Ok(Answer::json(&List::new(
                data,
                page.has_more,
                "/v1/customers",
            )))
        }
        Customers::Search(search) => {
            let lag = i64::try_from(seam.search_lag.as_millis()).unwrap_or(i64::MAX);
            let indexed_ms = cause.now.timestamp_millis().saturating_sub(lag);
            Ok(find(world, &search, indexed_ms, options.livemode))
        }
    }
}

/// `indexed_ms`: the index knows nothing that changed after this moment.
fn find(world: &Mutex<World>, search: &Search, indexed_ms: i64, livemode: bool) -> Answer {
    let admits =
        |customer: &Customer| customer.changed_ms <= indexed_ms && search.query.admits(customer);
    let email = search.query.exact_email();
    let (mut found, total_count) = {
        let world = lock(world);
        let found = world
            .customers
            .scan(search.before, email, search.limit + 1, admits);
        let count = || world.customers.scan(None, email, usize::MAX, admits).len();
        (found, search.total_count.then(count))
    };
    let has_more = found.len() > search.limit;
    found.truncate(search.limit);
    let next_page = found
        .last()
        .filter(|_| has_more)
        .map(|(place, _)| page_token(*place));
    Answer::json(&SearchResult {
        object: "search_result",
        data: found
            .iter()
            .map(|(_, customer)| View { customer, livemode })
            .collect(),
        has_more,
        next_page,
        total_count,
        url: "/v1/customers/search",
    })
}
