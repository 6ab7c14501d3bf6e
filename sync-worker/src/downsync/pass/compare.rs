//! A page of Stripe's list against the database, by set: whom it shows otherwise than was agreed, and who of ours is
//! missing from a part that was read to its end.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::fields::Fields;
use entity::message::{Drift, StripeCopy};
use entity::stripe_link::{Column, Entity};
use platform::database::within_bounds;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::absence;
use super::walk::Closed;
use crate::downsync::diff::{Agreed, is_drift};
use crate::engine::Engine;

/// So many links are read at once.
const BATCH: u64 = 1_000;

/// As much of a link as a page is compared with.
#[derive(FromQueryResult)]
struct Slim {
    stripe_id: String,
    stripe_created: Option<i64>,
    base: Option<Fields>,
    parked_reason: Option<String>,
    detached_at: Option<DateTime<Utc>>,
}

/// What a page shows.
pub(super) struct Compared {
    /// Linked customers that differ.
    pub(super) drifts: Vec<Drift>,
    /// Customers that no link names, but for those that we have let go of.
    pub(super) strangers: Vec<StripeCopy>,
}

/// Compares the customers of a page; one query if it finds nothing.
pub(super) async fn compare(
    engine: &Engine,
    copies: Vec<StripeCopy>,
    read_at: DateTime<Utc>,
) -> anyhow::Result<Compared> {
    let mut compared = Compared {
        drifts: Vec::new(),
        strangers: Vec::new(),
    };
    if copies.is_empty() {
        return Ok(compared);
    }
    let ids = copies.iter().map(|copy| copy.stripe_id.as_str());
    let links = within_bounds(links(engine, ids)).await?;
    let mut unknown = Vec::new();
    for copy in copies {
        let link = links.get(&copy.stripe_id);
        if link.is_some_and(|link| link.stripe_created.is_none()) {
            unknown.push((copy.stripe_id.clone(), copy.created));
        }
        if !is_drift(&copy, link.map(Slim::agreed)) {
            continue;
        }
        match link {
            Some(_) => compared.drifts.push(Drift { copy, read_at }),
            None => compared.strangers.push(copy),
        }
    }
    if !unknown.is_empty() {
        within_bounds(fill_in(engine, unknown)).await?;
    }
    Ok(compared)
}

impl Slim {
    fn agreed(&self) -> Agreed<'_> {
        Agreed::of(
            self.base.as_ref(),
            self.parked_reason.as_deref(),
            self.detached_at.is_some(),
        )
    }
}

async fn links<'a>(
    engine: &Engine,
    ids: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, Slim>, DbErr> {
    let links = Entity::find()
        .select_only()
        .columns([
            Column::StripeId,
            Column::StripeCreated,
            Column::Base,
            Column::ParkedReason,
            Column::DetachedAt,
        ])
        .filter(Column::StripeId.is_in(ids))
        .into_model::<Slim>()
        .all(&engine.db)
        .await?;
    let by_id = links.into_iter().map(|link| (link.stripe_id.clone(), link));
    Ok(by_id.collect())
}

/// Notes when linked customers were made, where that was not known. It says nothing about their state, so no
/// lock is needed and `updated_at` stays.
async fn fill_in(engine: &Engine, unknown: Vec<(String, i64)>) -> Result<(), DbErr> {
    let mut created = CaseStatement::new();
    for (stripe_id, at) in &unknown {
        created = created.case(Column::StripeId.eq(stripe_id), Expr::value(*at));
    }
    Entity::update_many()
        .col_expr(Column::StripeCreated, created.into())
        .filter(Column::StripeId.is_in(unknown.iter().map(|(id, _)| id)))
        .exec(&engine.db)
        .await?;
    Ok(())
}

/// The living linked customers that were made in Stripe in this part and were not seen there.
pub(super) async fn missing(engine: &Engine, closed: &Closed) -> Result<Vec<String>, DbErr> {
    let mut missing = Vec::new();
    let mut after = None;
    loop {
        let links = within_bounds(made_in(engine, closed, after)).await?;
        let Some((customer_id, _, Some(created))) = links.last() else {
            return Ok(missing);
        };
        after = Some((*created, *customer_id));
        let is_last = (links.len() as u64) < BATCH;
        let unseen = links.into_iter().map(|(_, stripe_id, _)| stripe_id);
        let unseen: Vec<_> = unseen.filter(|id| !closed.seen.contains(id)).collect();
        if !unseen.is_empty() {
            missing.extend(absence::living(engine, &unseen).await?);
        }
        if is_last {
            return Ok(missing);
        }
    }
}

type Made = (Uuid, String, Option<i64>);

async fn made_in(
    engine: &Engine,
    closed: &Closed,
    after: Option<(i64, Uuid)>,
) -> Result<Vec<Made>, DbErr> {
    let mut query = Entity::find()
        .select_only()
        .columns([Column::CustomerId, Column::StripeId, Column::StripeCreated])
        .filter(Column::StripeId.is_not_null())
        .filter(Column::StripeCreated.gte(closed.part.from))
        .filter(Column::StripeCreated.lte(closed.part.to));
    if let Some((created, customer_id)) = after {
        let place = Expr::tuple([
            Expr::col(Column::StripeCreated),
            Expr::col(Column::CustomerId),
        ]);
        let behind = Expr::tuple([Expr::value(created), Expr::value(customer_id)]);
        query = query.filter(place.gt(behind));
    }
    query
        .order_by_asc(Column::StripeCreated)
        .order_by_asc(Column::CustomerId)
        .limit(BATCH)
        .into_tuple()
        .all(&engine.db)
        .await
}
