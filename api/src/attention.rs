//! What waits for a person: parked customers, conflicts, Stripe customers without a row, refused deletions. Each is
//! listed with its reason and the next step, and decided here; the worker does what follows.

mod conflict;
mod deletion;
mod page;
mod parked;
mod side;
mod unmatched;

use entity::customer;
use entity::decide::{self, Locked, Refused};
use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use crate::customers::{Customers, Key};
use crate::database;
use crate::header::Tags;
use crate::problem::{self, Code, Problem};

pub(crate) use conflict::Conflicts;
pub(crate) use deletion::Deletions;
pub(crate) use parked::Parked;
pub(crate) use unmatched::Unmatched;

/// Of every action on something that waits.
const WAITING: &[problem::Listed] = &[(404, "Nothing waits here for a decision (`not_found`).")];

const CHANGED_SINCE: problem::Listed = (
    412,
    "It is not, or no longer, in the state that If-Match names (`precondition_failed`).",
);

const TAGGED: &[problem::Listed] = &[
    (400, "A header can't be read (`malformed_request`)."),
    CHANGED_SINCE,
];

/// Like [`TAGGED`], of an operation with a body.
const CHANGED: &[problem::Listed] = &[CHANGED_SINCE];

const INVALID: &[problem::Listed] = &[(
    422,
    "A value can't be accepted; `field` names it (`validation_failed`).",
)];

fn refusal(refused: Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::NotFound => Problem::new(Code::NotFound, detail),
        Refused::Decided => Problem::new(Code::AlreadyDecided, detail),
        Refused::Outdated => Problem::new(Code::Outdated, detail),
        Refused::NotPossible(_) => Problem::new(Code::NotPossible, detail),
        Refused::EmailTaken => Problem::email_taken(),
        Refused::NoSuchCustomer => Problem::invalid("customer_id", detail),
        Refused::Linked => Problem::new(Code::AlreadyLinked, detail).at("customer_id"),
        Refused::Database(error) => database::problem(error),
    }
}

/// Locks a customer, if it is in the state that If-Match names.
async fn lock(
    tx: &DatabaseTransaction,
    customer_id: Uuid,
    condition: Option<&Tags>,
) -> Result<Locked, Problem> {
    let locked = decide::lock(tx, customer_id).await.map_err(refusal)?;
    check(condition, locked.row.rev)?;
    Ok(locked)
}

fn check(condition: Option<&Tags>, number: i64) -> Result<(), Problem> {
    if condition.is_some_and(|tags| !tags.match_strongly(number)) {
        let detail = format!("it is at {number}, which If-Match does not name");
        return Err(Problem::new(Code::PreconditionFailed, detail).at("If-Match"));
    }
    Ok(())
}

async fn commit(tx: DatabaseTransaction) -> Result<(), Problem> {
    tx.commit().await.map_err(database::problem)
}

/// The id of the customer that a filter names; of nobody, if there is none.
async fn customer_id(customers: &Customers, text: Option<&str>) -> Result<Option<Uuid>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let key = Key::parse(text)
        .map_err(|_| Problem::invalid("customer", "customer must be an id or an e-mail"))?;
    if let Key::Id(id) = key {
        return Ok(Some(id));
    }
    let found: Option<customer::Model> = database::patiently(|| key.find(&customers.db)).await?;
    Ok(Some(found.map_or(Uuid::nil(), |row| row.id)))
}
