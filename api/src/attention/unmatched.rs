//! Stripe customers without a row: /api/v1/unmatched.

mod item;
mod read;

use entity::decide;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, OpenApi};

use self::item::{Found, Linking, Listed};
use self::read::Asked;
use super::page::default_limit;
use super::{INVALID, WAITING, commit, refusal};
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::customers::{Customers, Tag};
use crate::database;
use crate::problem::{self, BODY, Documented, Refusal};

#[derive(Clone)]
pub(crate) struct Unmatched(pub(crate) Customers);

/// Which unmatched customers to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[oai(rename = "UnmatchedState", rename_all = "snake_case")]
enum State {
    /// Those that wait for a person.
    #[default]
    Open,
    /// Those that a person has seen and left as they are.
    Dismissed,
}

/// Why a Stripe customer has no customer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "UnmatchedReason", rename_all = "snake_case")]
enum Reason {
    /// It has no e-mail.
    NoEmail,
    /// Its e-mail is not one that a customer here may have.
    InvalidEmail,
    /// The customer with this e-mail is linked to another Stripe customer.
    EmailTaken,
    /// It cannot be read.
    Unreadable,
    /// A redaction job has removed personal data of it.
    Redacted,
    /// It names a customer that is linked to another Stripe customer.
    Duplicate,
    /// It matches a customer by e-mail only, and such links are to be reviewed.
    Review,
    /// The customer with this e-mail was deleted while this one was in Stripe.
    CustomerDeleted,
}

#[OpenApi(prefix_path = "/api/v1/unmatched", tag = "Tag::Attention")]
impl Unmatched {
    /// List Stripe customers that have no customer here
    ///
    /// Newest first, each with the reason and the next step. They are never changed, merged or deleted by us.
    #[oai(path = "/", method = "get", operation_id = "listUnmatched")]
    #[expect(
        clippy::too_many_arguments,
        reason = "one argument a parameter, for the spec"
    )]
    async fn list(
        &self,
        _caller: Caller,
        /// How many at most.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// The `next_cursor` of the page before.
        #[oai(validator(max_length = 384))]
        cursor: Query<Option<String>>,
        /// Those that wait, or those that were dismissed.
        #[oai(default)]
        state: Query<State>,
        /// Only those with this reason.
        reason: Query<Option<Reason>>,
        /// Only those that stand in the way of, or may belong to, this customer, by id or e-mail.
        #[oai(validator(max_length = 512))]
        customer: Query<Option<String>>,
    ) -> Result<Listed, Refusal<Listing>> {
        let asked = Asked {
            limit: limit.0,
            cursor: cursor.0,
            state: state.0,
            reason: reason.0,
            customer: customer.0,
        };
        Ok(self.read_page(asked).await?)
    }

    /// Read a Stripe customer that has no customer here
    ///
    /// Why that is so, and what can be done.
    #[oai(path = "/:id", method = "get", operation_id = "readUnmatched")]
    async fn read(
        &self,
        _caller: Caller,
        /// Stripe's id of the customer.
        id: Path<String>,
    ) -> Result<Found, Refusal<Reading>> {
        Ok(self.read_one(&id).await?)
    }

    /// Look at it again
    ///
    /// The worker reads the Stripe customer again at once. It becomes a customer here, or is linked, if it can by now.
    #[oai(path = "/:id/retry", method = "post", operation_id = "retryUnmatched")]
    async fn retry(
        &self,
        _caller: Caller,
        /// Stripe's id of the customer.
        id: Path<String>,
    ) -> Result<Found, Refusal<Reading>> {
        let tx = database::begin(&self.0.db).await?;
        let now = self.0.database_now(&tx).await?;
        let entry = decide::unmatched::retry(&tx, &id, now)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        Ok(Found::of(&entry))
    }

    /// Link it to a customer
    ///
    /// For a customer that is not in Stripe yet. The worker reads the Stripe customer again at once and merges the two:
    /// a field that only one side has is taken, of two values the field's owner's.
    #[oai(path = "/:id/link", method = "post", operation_id = "linkUnmatched")]
    async fn link(
        &self,
        _caller: Caller,
        /// Stripe's id of the customer.
        id: Path<String>,
        body: JsonBody<Linking>,
    ) -> Result<Found, Refusal<LinkingIt>> {
        let tx = database::begin(&self.0.db).await?;
        let now = self.0.database_now(&tx).await?;
        let entry = decide::unmatched::link(&tx, &id, body.0.customer_id, now)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        Ok(Found::of(&entry))
    }

    /// Dismiss it
    ///
    /// Leaves it in Stripe as it is, and takes it off the list of those that wait, until something about it changes. One
    /// under review is somebody else from then on.
    #[oai(
        path = "/:id/dismiss",
        method = "post",
        operation_id = "dismissUnmatched"
    )]
    async fn dismiss(
        &self,
        _caller: Caller,
        /// Stripe's id of the customer.
        id: Path<String>,
    ) -> Result<Found, Refusal<Reading>> {
        let tx = database::begin(&self.0.db).await?;
        let now = self.0.database_now(&tx).await?;
        let entry = decide::unmatched::dismiss(&tx, &id, now)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        Ok(Found::of(&entry))
    }
}

struct Listing;
impl Documented for Listing {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[INVALID];
}

struct Reading;
impl Documented for Reading {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[WAITING];
}

struct LinkingIt;
impl Documented for LinkingIt {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[
        BODY,
        WAITING,
        &[(
            409,
            "The customer is linked to a Stripe customer already (`already_linked`).",
        )],
        INVALID,
    ];
}
