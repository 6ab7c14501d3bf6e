//! Conflicts: /api/v1/conflicts.

mod item;
mod read;

use entity::decide;
use entity::fields::Field;
use entity::{conflict, customer};
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use self::item::{Found, Listed};
use self::read::Asked;
use super::page::default_limit;
use super::side::Resolution;
use super::{INVALID, TAGGED, WAITING, commit, lock, refusal};
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::customers::{Customers, Tag};
use crate::database;
use crate::header::{StrictHeader, Tags};
use crate::problem::{self, BODY, Code, Documented, Problem, Refusal};

#[derive(Clone)]
pub(crate) struct Conflicts(pub(crate) Customers);

/// Which conflicts to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "ConflictState", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum State {
    /// Those that wait for a person: both sides keep their values.
    #[default]
    Open,
    /// Those that were decided, by the field's owner or by a person.
    Resolved,
    /// Those that a person has seen and left as they are.
    Dismissed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[oai(rename = "ConflictField", rename_all = "snake_case")]
enum FieldName {
    Email,
    Name,
    Phone,
    Description,
}

impl From<FieldName> for Field {
    fn from(name: FieldName) -> Self {
        match name {
            FieldName::Email => Self::Email,
            FieldName::Name => Self::Name,
            FieldName::Phone => Self::Phone,
            FieldName::Description => Self::Description,
        }
    }
}

#[OpenApi(prefix_path = "/api/v1/conflicts", tag = "Tag::Attention")]
impl Conflicts {
    /// List conflicts
    ///
    /// Fields that were changed on both sides to different values, newest first. Both values are kept, whoever won.
    #[oai(path = "/", method = "get", operation_id = "listConflicts")]
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
        /// Those that wait, that are decided, or that were dismissed.
        #[oai(default)]
        state: Query<State>,
        /// Only those of this field.
        field: Query<Option<FieldName>>,
        /// Only those of this customer, by id or e-mail.
        #[oai(validator(max_length = 512))]
        customer: Query<Option<String>>,
    ) -> Result<Listed, Refusal<Listing>> {
        let asked = Asked {
            limit: limit.0,
            cursor: cursor.0,
            state: state.0,
            field: field.0.map(Field::from),
            customer: customer.0,
        };
        Ok(self.read_page(asked).await?)
    }

    /// Read a conflict
    ///
    /// What both sides have and had, who won, and what can be done.
    #[oai(path = "/:id", method = "get", operation_id = "readConflict")]
    async fn read(
        &self,
        _caller: Caller,
        /// The id of the conflict.
        id: Path<String>,
    ) -> Result<Found, Refusal<Reading>> {
        let (conflict, row) = self.find(parse(&id)?).await?;
        Ok(Found::of(&conflict, &row))
    }

    /// Let one side's value hold
    ///
    /// It is a change of the customer like any other, and reaches Stripe the same way. Of a conflict that was decided by
    /// the field's owner the choice counts as long as the value that had won is still the present one. A choice is made
    /// once; the same one again changes nothing.
    #[oai(
        path = "/:id/resolve",
        method = "post",
        operation_id = "resolveConflict"
    )]
    async fn resolve(
        &self,
        caller: Caller,
        /// The id of the conflict.
        id: Path<String>,
        /// The revision of the customer that was looked at, such as `"3"`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
        body: JsonBody<Resolution>,
    ) -> Result<Found, Refusal<Resolving>> {
        let condition = if_match.tags()?;
        let (tx, locked, conflict) = self.begin(parse(&id)?, condition.as_ref()).await?;
        let at = (self.0.database_now(&tx).await?, Some(caller.traceparent));
        let (conflict, row) = decide::conflict::resolve(&tx, &locked, &conflict, body.0.side(), at)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        self.0.wake.wake();
        Ok(Found::of(&conflict, &row))
    }

    /// Dismiss a conflict
    ///
    /// Leaves both sides as they are, and takes it off the list of those that wait, until one of the values changes.
    #[oai(
        path = "/:id/dismiss",
        method = "post",
        operation_id = "dismissConflict"
    )]
    async fn dismiss(
        &self,
        _caller: Caller,
        /// The id of the conflict.
        id: Path<String>,
        /// The revision of the customer that was looked at, such as `"3"`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
    ) -> Result<Found, Refusal<Dismissing>> {
        let condition = if_match.tags()?;
        let (tx, locked, conflict) = self.begin(parse(&id)?, condition.as_ref()).await?;
        let now = self.0.database_now(&tx).await?;
        let conflict = decide::conflict::dismiss(&tx, &conflict, now)
            .await
            .map_err(refusal)?;
        commit(tx).await?;
        Ok(Found::of(&conflict, &locked.row))
    }
}

impl Conflicts {
    /// The conflict, read under the locks of its customer.
    async fn begin(
        &self,
        id: Uuid,
        condition: Option<&Tags>,
    ) -> Result<
        (
            sea_orm::DatabaseTransaction,
            decide::Locked,
            conflict::Model,
        ),
        Problem,
    > {
        let (found, _): (conflict::Model, customer::Model) = self.find(id).await?;
        let tx = database::begin(&self.0.db).await?;
        let locked = lock(&tx, found.customer_id, condition).await?;
        let conflict = conflict::find(&tx, id).await.map_err(database::problem)?;
        Ok((tx, locked, conflict.ok_or_else(no_such_conflict)?))
    }
}

fn parse(id: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(id).map_err(|_| no_such_conflict())
}

fn no_such_conflict() -> Problem {
    Problem::new(Code::NotFound, "no conflict has this id")
}

struct Listing;
impl Documented for Listing {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[INVALID];
}

struct Reading;
impl Documented for Reading {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[WAITING];
}

struct Dismissing;
impl Documented for Dismissing {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[WAITING, TAGGED];
}

struct Resolving;
impl Documented for Resolving {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[
        BODY,
        WAITING,
        super::CHANGED,
        &[(
            409,
            "It was decided for the other side before (`already_decided`), the value that had won is not the present one \
             any more (`outdated`), a customer can't have Stripe's e-mail (`not_possible`), or another one has it \
             (`email_taken`).",
        )],
        INVALID,
    ];
}
