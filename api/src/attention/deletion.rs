//! Deletions in Stripe that were refused for being too many at once: /api/v1/refused-deletions.

use entity::decide;
use entity::downsync_state::{self, ID};
use entity::parked::Reason;
use entity::stripe_link::{Column, Entity};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter};
use serde::Serialize;

use super::{TAGGED, check, commit};
use crate::auth::Caller;
use crate::customers::{Customers, Json, Tag};
use crate::database::{self, patiently};
use crate::header::{StrictHeader, tag_of};
use crate::problem::{self, Documented, Problem, Refusal};

#[derive(Clone)]
pub(crate) struct Deletions(pub(crate) Customers);

/// What the last full pass refused.
#[derive(Object, Serialize)]
#[oai(example)]
struct RefusedDeletions {
    /// How many customers are held back: `/api/v1/parked?reason=deletion_refused` lists them. The ETag.
    count: i64,
    /// Why the last full pass was refused; null after one that was not.
    #[oai(nullable)]
    detail: Option<String>,
    /// What a person can do; null when nothing was refused.
    #[oai(nullable)]
    next_step: Option<String>,
}

impl Example for RefusedDeletions {
    fn example() -> Self {
        Self {
            count: 120,
            detail: Some(
                "Stripe says that 120 or more of 400 linked customers are deleted: none is deleted here until a person \
                 accepts it"
                    .to_owned(),
            ),
            next_step: Some(Reason::DeletionRefused.next_step().to_owned()),
        }
    }
}

#[derive(ApiResponse)]
enum Shown {
    /// What is held back.
    #[oai(status = 200)]
    Refused(
        Json<RefusedDeletions>,
        /// The count, for If-Match.
        #[oai(header = "ETag")]
        String,
    ),
}

/// What was accepted.
#[derive(Object, Serialize)]
#[oai(example)]
struct AcceptedDeletions {
    /// How many customers are asked for in Stripe once more; those that are deleted there are deleted here.
    accepted: i64,
}

impl Example for AcceptedDeletions {
    fn example() -> Self {
        Self { accepted: 120 }
    }
}

#[derive(ApiResponse)]
enum Accepted {
    /// It is decided and committed; the worker does what follows.
    #[oai(status = 200)]
    Deletions(Json<AcceptedDeletions>),
}

#[OpenApi(prefix_path = "/api/v1/refused-deletions", tag = "Tag::Attention")]
impl Deletions {
    /// See which deletions are held back
    ///
    /// When many customers are gone from Stripe at once, none is deleted here before a person has looked.
    #[oai(path = "/", method = "get", operation_id = "readRefusedDeletions")]
    async fn read(&self, _caller: Caller) -> Result<Shown, Refusal<Reading>> {
        let db = &self.0.db;
        let count = patiently(|| held(db)).await?;
        let state = patiently(|| downsync_state::Entity::find_by_id(ID).one(db)).await?;
        let detail = state.and_then(|state| state.refused);
        let is_refused = count > 0 || detail.is_some();
        let next_step = if count > 0 {
            Reason::DeletionRefused.next_step()
        } else {
            "Make sure that the key is for the account and mode that hold the customers; the next full pass looks again."
        };
        let shown = RefusedDeletions {
            count,
            detail,
            next_step: is_refused.then(|| next_step.to_owned()),
        };
        Ok(Shown::Refused(Json::of(&shown), tag_of(count)))
    }

    /// Accept the deletions that are held back
    ///
    /// Once, and only those that are listed now: Stripe is asked for each of them once more, and those that are deleted
    /// there are deleted here, or detached where that is the policy. With If-Match only if there are as many as were looked
    /// at.
    #[oai(
        path = "/accept",
        method = "post",
        operation_id = "acceptRefusedDeletions"
    )]
    async fn accept(
        &self,
        _caller: Caller,
        /// The count that was looked at, such as `"120"`.
        #[oai(
            name = "If-Match",
            validator(pattern = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#)
        )]
        if_match: StrictHeader,
    ) -> Result<Accepted, Refusal<Accepting>> {
        let condition = if_match.tags()?;
        let tx = database::begin(&self.0.db).await?;
        let count = held(&tx).await.map_err(database::problem)?;
        check(condition.as_ref(), count)?;
        let now = self.0.database_now(&tx).await?;
        let accepted = decide::parked::accept_deletions(&tx, now)
            .await
            .map_err(database::problem)?;
        commit(tx).await?;
        let accepted = i64::try_from(accepted)
            .map_err(|_| Problem::internal().because("more rows than numbers"))?;
        Ok(Accepted::Deletions(Json::of(&AcceptedDeletions {
            accepted,
        })))
    }
}

async fn held(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let count = Entity::find()
        .filter(Column::ParkedReason.eq(Reason::DeletionRefused.as_str()))
        .filter(Column::ParkedDismissedAt.is_null())
        .count(db)
        .await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

struct Reading;
impl Documented for Reading {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[];
}

struct Accepting;
impl Documented for Accepting {
    const PROBLEMS: &'static [&'static [problem::Listed]] = &[TAGGED];
}
