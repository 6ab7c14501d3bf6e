//! The resource API: /api/v1/customers.

use chrono::{DateTime, Utc};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::key::Key;
use super::list::{Asked, DEFAULT_LIMIT, Listed};
use super::patch::{CustomerPatch, NewCustomer};
use super::representation::{Created, Deleted, Found, Updated};
use super::sync::{State, wait};
use super::timeline::Told;
use super::{Customers, Tag};
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::header::{StrictHeader, tag_of};
use crate::idempotency::Once;
use crate::problem::{self, BODY, Documented, KEYED, Refusal, TAGGED};

#[derive(Clone)]
pub(crate) struct Resource(pub(crate) Customers);

#[OpenApi(prefix_path = "/api/v1/customers", tag = "Tag::Customers")]
impl Resource {
    /// List customers
    ///
    /// Newest first, page by page: pass `next_cursor` as `cursor` to get the next one. Filters can be combined.
    #[oai(path = "/", method = "get", operation_id = "listCustomers")]
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
        #[oai(validator(max_length = 64))]
        cursor: Query<Option<String>>,
        /// Only the customer with this e-mail, in upper or lower case.
        #[oai(validator(max_length = 512))]
        email: Query<Option<String>>,
        /// Only the customer with this `external_id`, compared as it is.
        #[oai(validator(
            min_length = 1,
            max_length = 255,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        ))]
        external_id: Query<Option<String>>,
        /// Only those created at this time or later (RFC 3339).
        created_after: Query<Option<DateTime<Utc>>>,
        /// Only those created before this time (RFC 3339).
        created_before: Query<Option<DateTime<Utc>>>,
        /// Only those changed at this time or later (RFC 3339). To follow changes without gaps, use `/api/v1/changes`.
        updated_after: Query<Option<DateTime<Utc>>>,
        /// What is left of deleted customers, instead of the living.
        #[oai(default)]
        deleted: Query<bool>,
    ) -> Result<Listed, Refusal<Listing>> {
        let asked = Asked {
            limit: limit.0,
            cursor: cursor.0,
            email: email.0,
            external_id: external_id.0,
            created_after: created_after.0,
            created_before: created_before.0,
            updated_after: updated_after.0,
            deleted: deleted.0,
        };
        Ok(self.0.list(asked).await?)
    }

    /// Create a customer
    ///
    /// Writes the customer and answers; Stripe gets it soon after, however long Stripe is away. With an
    /// Idempotency-Key the request can be sent again without harm when its answer was lost: the answer is kept for 24
    /// hours and repeated.
    #[oai(path = "/", method = "post", operation_id = "createCustomer")]
    async fn create(
        &self,
        caller: Caller,
        /// 1 to 255 visible ASCII characters that name this request, such as a UUID.
        #[oai(name = "Idempotency-Key", validator(pattern = "^[!-~]{1,255}$"))]
        idempotency_key: StrictHeader,
        body: JsonBody<NewCustomer>,
    ) -> Result<Created, Refusal<Creating>> {
        let new = body.0.checked()?;
        let once = Once::of(&idempotency_key, &new)?;
        let answer = self.0.create(new, once, caller.traceparent).await?;
        Ok(Created::answer(answer))
    }

    /// Read a customer
    ///
    /// By id or by e-mail. With If-None-Match the answer is short when nothing has changed.
    #[oai(path = "/:key", method = "get", operation_id = "readCustomer")]
    async fn read(
        &self,
        _caller: Caller,
        /// The id, or the e-mail in upper or lower case.
        key: Path<String>,
        /// The revisions that are known already, such as `"3"`.
        #[oai(
            name = "If-None-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_none_match: StrictHeader,
    ) -> Result<Found, Refusal<Reading>> {
        let known = if_none_match.tags()?;
        let (row, summary) = self.0.find_with_summary(&Key::parse(&key)?).await?;
        if known.is_some_and(|tags| tags.match_weakly(row.rev)) {
            return Ok(Found::NotModified(tag_of(row.rev)));
        }
        Ok(Found::of(&row, summary))
    }

    /// Change a customer
    ///
    /// A JSON merge patch (RFC 7396): an absent member is kept, null or an empty text clears it. With If-Match only
    /// the state that was read is changed. A patch that changes nothing raises no revision.
    #[oai(path = "/:key", method = "patch", operation_id = "updateCustomer")]
    async fn update(
        &self,
        caller: Caller,
        /// The id, or the e-mail in upper or lower case.
        key: Path<String>,
        /// The revision that is to be changed, such as `"3"`, or `*`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
        body: JsonBody<CustomerPatch>,
    ) -> Result<Updated, Refusal<Updating>> {
        let condition = if_match.tags()?;
        let edit = |row: &entity::customer::Model| body.0.apply(row);
        let key = Key::parse(&key)?;
        let updated = self
            .0
            .update(&key, condition.as_ref(), edit, caller.traceparent)
            .await?;
        Ok(updated.into())
    }

    /// Delete a customer
    ///
    /// Deletes the customer here and then in Stripe. The answer is what is left of it, so its revision is known.
    #[oai(path = "/:key", method = "delete", operation_id = "deleteCustomer")]
    async fn delete(
        &self,
        caller: Caller,
        /// The id, or the e-mail in upper or lower case.
        key: Path<String>,
        /// The revision that is to be deleted, such as `"3"`, or `*`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
    ) -> Result<Deleted, Refusal<Deleting>> {
        let condition = if_match.tags()?;
        let key = Key::parse(&key)?;
        let deleted = self
            .0
            .delete(&key, condition.as_ref(), caller.traceparent)
            .await?;
        Ok(deleted.into())
    }

    /// See how far a customer is on its way to Stripe
    ///
    /// Answers at once, or with `wait` as soon as the state is another than `pending`. A deleted customer still has
    /// its state, by its id.
    #[oai(path = "/:key/sync", method = "get", operation_id = "readCustomerSync")]
    async fn sync(
        &self,
        _caller: Caller,
        /// The id, or the e-mail in upper or lower case.
        key: Path<String>,
        /// How long to wait at most, from `0s` to `60s`.
        #[oai(name = "wait", validator(max_length = 32))]
        longest: Query<Option<String>>,
    ) -> Result<State, Refusal<Looking>> {
        let longest = wait(longest.as_deref())?;
        Ok(self.0.sync(&Key::parse(&key)?, longest).await?)
    }

    /// See what happened to a customer
    ///
    /// Every step on the way to Stripe and back, with its time, the newest last: pass `next_cursor` as `cursor` to get what
    /// came later. A deleted customer still has its story, by its id. It is kept for 30 days.
    #[oai(
        path = "/:key/timeline",
        method = "get",
        operation_id = "readCustomerTimeline"
    )]
    async fn timeline(
        &self,
        _caller: Caller,
        /// The id, or the e-mail in upper or lower case.
        key: Path<String>,
        /// How many at most.
        #[oai(
            default = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// The `next_cursor` of the page before.
        #[oai(validator(max_length = 64))]
        cursor: Query<Option<String>>,
    ) -> Result<Told, Refusal<Looking>> {
        let key = Key::parse(&key)?;
        Ok(self.0.timeline(&key, limit.0, cursor.as_deref()).await?)
    }
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

const INVALID: problem::Listed = (
    422,
    "A value can't be accepted; `field` names it (`validation_failed`).",
);
const TAKEN: problem::Listed = (
    409,
    "Another customer has this e-mail (`email_taken`) or this external_id (`external_id_taken`).",
);
const HEADER: problem::Listed = (400, "A header can't be read (`malformed_request`).");

struct Listing;
impl Documented for Listing {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[&[INVALID]];
}

struct Creating;
impl Documented for Creating {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[
        BODY,
        &[
            (
                409,
                "Another customer has this e-mail (`email_taken`) or this external_id (`external_id_taken`), or is linked \
                 to this Stripe customer (`already_linked`).",
            ),
            (
                422,
                "A value can't be accepted; `field` names it (`validation_failed`). Or the Idempotency-Key came with \
                 another request before (`idempotency_key_reused`).",
            ),
        ],
    ];
}

struct Reading;
impl Documented for Reading {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[KEYED, &[HEADER]];
}

struct Updating;
impl Documented for Updating {
    const PROBLEMS: &'static [&'static [problem::Listed]] =
        &[BODY, KEYED, TAGGED, &[TAKEN, INVALID]];
}

struct Deleting;
impl Documented for Deleting {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[KEYED, TAGGED, &[HEADER]];
}

struct Looking;
impl Documented for Looking {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[KEYED, &[INVALID]];
}
