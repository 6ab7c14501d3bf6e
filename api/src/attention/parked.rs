//! Parked customers: /api/v1/parked.

mod item;
mod read;

use entity::decide;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, OpenApi};

use self::item::{Decided, Done, Found, Listed};
use self::read::Asked;
use super::page::default_limit;
use super::side::Resolution;
use super::{INVALID, TAGGED, WAITING, commit, lock, refusal};
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::customers::{Customers, Key, Tag};
use crate::database;
use crate::header::{StrictHeader, Tags};
use crate::problem::{self, BODY, Documented, Problem, Refusal};

#[derive(Clone)]
pub(crate) struct Parked(pub(crate) Customers);

/// Which parked customers to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
#[oai(rename = "ParkedState", rename_all = "snake_case")]
enum State {
    /// Those that wait for a person.
    #[default]
    Open,
    /// Those that a person has seen and left as they are.
    Dismissed,
}

#[OpenApi(prefix_path = "/api/v1/parked", tag = "Tag::Attention")]
impl Parked {
    /// List parked customers
    ///
    /// Customers that can't be brought into step without a person, newest first, each with the reason and the next
    /// step. An edit of the customer un-parks it.
    #[oai(path = "/", method = "get", operation_id = "listParked")]
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
        /// Only those with this reason, such as `deleted_in_stripe`.
        #[oai(validator(max_length = 128, pattern = "^[!-~]+$"))]
        reason: Query<Option<String>>,
        /// Only this customer, by id or e-mail.
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

    /// Read a parked customer
    ///
    /// Why it waits, what both sides have, and what can be done.
    #[oai(path = "/:key", method = "get", operation_id = "readParked")]
    async fn read(
        &self,
        _caller: Caller,
        /// The id of the customer, or its e-mail in upper or lower case.
        key: Path<String>,
    ) -> Result<Found, Refusal<Reading>> {
        Ok(self.read_one(&Key::parse(&key)?).await?)
    }

    /// Try a parked customer again
    ///
    /// It is sent, or read from Stripe, again at once. If the cause is still there, it is parked anew.
    #[oai(path = "/:key/retry", method = "post", operation_id = "retryParked")]
    async fn retry(
        &self,
        _caller: Caller,
        /// The id of the customer, or its e-mail in upper or lower case.
        key: Path<String>,
        /// The revision of the customer that was looked at, such as `"3"`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
    ) -> Result<Decided, Refusal<Acting>> {
        let condition = if_match.tags()?;
        let (tx, locked) = self.begin(&key, condition.as_ref()).await?;
        let now = self.0.database_now(&tx).await?;
        decide::parked::retry(&tx, &locked, now)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        Ok(Decided::of(Done::Retried, &locked.row))
    }

    /// Dismiss a parked customer
    ///
    /// Leaves all as it is, and takes it off the list of those that wait, until it is parked anew.
    #[oai(
        path = "/:key/dismiss",
        method = "post",
        operation_id = "dismissParked"
    )]
    async fn dismiss(
        &self,
        _caller: Caller,
        /// The id of the customer, or its e-mail in upper or lower case.
        key: Path<String>,
        /// The revision of the customer that was looked at, such as `"3"`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
    ) -> Result<Decided, Refusal<Acting>> {
        let condition = if_match.tags()?;
        let (tx, locked) = self.begin(&key, condition.as_ref()).await?;
        let now = self.0.database_now(&tx).await?;
        decide::parked::dismiss(&tx, &locked, now)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        Ok(Decided::of(Done::Dismissed, &locked.row))
    }

    /// Let one side of a parked customer hold
    ///
    /// With `database` what is here is sent again, also over what Stripe has; a customer that was deleted in Stripe is
    /// created there anew. With `stripe` the customer takes what Stripe has, or is deleted if it was deleted there, and
    /// nothing is sent.
    #[oai(
        path = "/:key/resolve",
        method = "post",
        operation_id = "resolveParked"
    )]
    async fn resolve(
        &self,
        caller: Caller,
        /// The id of the customer, or its e-mail in upper or lower case.
        key: Path<String>,
        /// The revision of the customer that was looked at, such as `"3"`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
        body: JsonBody<Resolution>,
    ) -> Result<Decided, Refusal<Resolving>> {
        let condition = if_match.tags()?;
        let (tx, locked) = self.begin(&key, condition.as_ref()).await?;
        let now = self.0.database_now(&tx).await?;
        let traceparent = Some(caller.traceparent);
        let row = decide::parked::resolve(&tx, &locked, body.0.side(), now, traceparent)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        self.0.wake.wake();
        Ok(Decided::of(Done::Resolved, &row))
    }
}

impl Parked {
    async fn begin(
        &self,
        key: &str,
        condition: Option<&Tags>,
    ) -> Result<(sea_orm::DatabaseTransaction, decide::Locked), Problem> {
        let id = match Key::parse(key)? {
            Key::Id(id) => id,
            key @ Key::Email(_) => self.0.find(&key).await?.id,
        };
        let tx = database::begin(&self.0.db).await?;
        let locked = lock(&tx, id, condition).await?;
        Ok((tx, locked))
    }
}

const NOT_POSSIBLE: &[problem::Listed] = &[(
    409,
    "Not with this reason; `detail` says what is possible (`not_possible`).",
)];

struct Listing;
impl Documented for Listing {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[INVALID];
}

struct Reading;
impl Documented for Reading {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[WAITING];
}

struct Acting;
impl Documented for Acting {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[WAITING, TAGGED, NOT_POSSIBLE];
}

struct Resolving;
impl Documented for Resolving {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[
        BODY,
        WAITING,
        super::CHANGED,
        &[(
            409,
            "Not with this reason; `detail` says what is possible (`not_possible`). Or another customer has the e-mail \
             that Stripe has (`email_taken`).",
        )],
        INVALID,
    ];
}
