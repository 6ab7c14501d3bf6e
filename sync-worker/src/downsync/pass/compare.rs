//! A part of Stripe's list against the database, by set: whether it shows just what was agreed on; if not, whom it
//! shows otherwise, and who of ours is missing from it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::fields::Fields;
use entity::fingerprint::{self, Sum};
use entity::message::Drift;
use entity::parked::Reason;
use entity::stripe_link::{Column, Entity};
use platform::database::within_bounds;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::absence;
use super::slice::Slice;
use super::walk::Closed;
use crate::downsync::diff::{Agreed, is_drift};
use crate::engine::Engine;

/// So many links are read at once.
const BATCH: usize = 1_000;

/// How a part that was read compares with what was agreed on, at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// It shows each customer that was agreed on as it was agreed on, and nobody else.
    Same,
    /// No link can be of anybody in it, as in a first import. The unique indexes decide should one have come since.
    AllNew,
    Other,
}

/// Looks at a part at a glance: one query, which reads an index, if it is the same.
pub(super) async fn glance(
    engine: &Engine,
    part: Slice,
    shown: impl Iterator<Item = Option<i64>>,
) -> Result<Glance, DbErr> {
    let shown: Option<Sum> = shown.collect();
    let agreed = within_bounds(agreed_in(engine, part)).await?;
    Ok(if shown.is_some() && shown == agreed.sum {
        Glance::Same
    } else if agreed.links == 0 && !within_bounds(is_any_age_unknown(engine)).await? {
        Glance::AllNew
    } else {
        Glance::Other
    })
}

/// What was agreed on about the customers that were made in a part.
struct InPart {
    links: i64,
    /// None unless it was worked out for each.
    sum: Option<Sum>,
}

async fn agreed_in(engine: &Engine, part: Slice) -> Result<InPart, DbErr> {
    let fingerprint = || Expr::col(Column::Fingerprint);
    let sum = |half: Expr| half.sum().cast_as("bigint");
    let found: Option<(Option<i64>, Option<i64>, i64, i64)> = Entity::find()
        .select_only()
        .expr_as(sum(fingerprint().right_shift(32)), "upper")
        .expr_as(sum(fingerprint().bit_and(0xffff_ffff_i64)), "lower")
        .expr_as(fingerprint().count(), "known")
        .expr_as(Expr::col(Column::CustomerId).count(), "links")
        .filter(Column::StripeId.is_not_null())
        .filter(Column::StripeCreated.gte(part.from))
        .filter(Column::StripeCreated.lte(part.to))
        .into_tuple()
        .one(&engine.db)
        .await?;
    let (upper, lower, known, links) = found.unwrap_or_default();
    let sum = Sum::of_halves(upper.unwrap_or_default(), lower.unwrap_or_default());
    Ok(InPart {
        links,
        sum: (known == links).then_some(sum),
    })
}

/// Whether there are linked customers of whom nobody knows when Stripe made them: they may be in any part.
async fn is_any_age_unknown(engine: &Engine) -> Result<bool, DbErr> {
    let of_unknown_age = Entity::find()
        .select_only()
        .column(Column::CustomerId)
        .filter(Column::StripeId.is_not_null())
        .filter(Column::StripeCreated.is_null())
        .limit(1)
        .into_tuple::<Uuid>()
        .one(&engine.db);
    Ok(of_unknown_age.await?.is_some())
}

/// As much of a link as a copy is compared with.
#[derive(FromQueryResult)]
struct Slim {
    stripe_id: String,
    stripe_created: Option<i64>,
    base: Option<Fields>,
    fingerprint: Option<i64>,
    parked_reason: Option<String>,
    detached_at: Option<DateTime<Utc>>,
}

/// What some customers show.
#[derive(Default)]
pub(super) struct Compared {
    /// Linked customers that differ.
    pub(super) drifts: Vec<Drift>,
    /// Customers that no link names, but for those that we have let go of.
    pub(super) strangers: Vec<Drift>,
}

/// Compares customers one by one; one query if it finds nothing. At most some thousand of them.
pub(super) async fn compare(engine: &Engine, shown: Vec<Drift>) -> anyhow::Result<Compared> {
    let mut compared = Compared::default();
    let ids = shown.iter().map(|drift| drift.copy.stripe_id.as_str());
    let links = within_bounds(links(engine, ids)).await?;
    let mut unknown = Vec::new();
    for drift in shown {
        let copy = &drift.copy;
        let link = links.get(&copy.stripe_id);
        if !copy.unreadable && link.is_some_and(|link| link.is_incomplete()) {
            unknown.push((copy.stripe_id.clone(), copy.created));
        }
        if !is_drift(copy, link.map(Slim::agreed)) {
            continue;
        }
        match link {
            Some(_) => compared.drifts.push(drift),
            None => compared.strangers.push(drift),
        }
    }
    if !unknown.is_empty() {
        within_bounds(fill_in(engine, unknown)).await?;
    }
    Ok(compared)
}

/// Customers that no link is of.
pub(super) fn all_new(mut shown: Vec<Drift>) -> Compared {
    shown.retain(|drift| is_drift(&drift.copy, None));
    Compared {
        drifts: Vec::new(),
        strangers: shown,
    }
}

impl Slim {
    fn agreed(&self) -> Agreed<'_> {
        Agreed::of(
            self.base.as_ref(),
            self.parked_reason.as_deref(),
            self.detached_at.is_some(),
        )
    }

    /// Whether what [`glance`] goes by was not worked out, or is not right.
    fn is_incomplete(&self) -> bool {
        let parked = self.parked_reason.as_deref().map(Reason::of);
        let fingerprint = fingerprint::of_link(
            Some(&self.stripe_id),
            self.base.as_ref(),
            parked,
            self.detached_at.is_some(),
        );
        self.stripe_created.is_none() || self.fingerprint != Some(fingerprint)
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
            Column::Fingerprint,
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

/// Notes when linked customers were made, and their fingerprints, where that was not known. It says nothing new about
/// their state, so `updated_at` stays.
async fn fill_in(engine: &Engine, unknown: Vec<(String, i64)>) -> Result<(), DbErr> {
    let tx = engine.begin().await?;
    let ids = unknown.iter().map(|(stripe_id, _)| stripe_id);
    // Locked, in one order everywhere, so that no fingerprint is of a link that has changed since.
    let links = Entity::find()
        .filter(Column::StripeId.is_in(ids.clone()))
        .order_by_asc(Column::CustomerId)
        .lock_exclusive()
        .all(&tx)
        .await?;
    let mut created = CaseStatement::new();
    for (stripe_id, at) in &unknown {
        created = created.case(Column::StripeId.eq(stripe_id), Expr::value(*at));
    }
    let mut fingerprint = CaseStatement::new();
    for link in &links {
        let expected = Expr::value(link.expected_fingerprint());
        fingerprint = fingerprint.case(Column::CustomerId.eq(link.customer_id), expected);
    }
    if !links.is_empty() {
        Entity::update_many()
            .col_expr(Column::StripeCreated, created.into())
            .col_expr(Column::Fingerprint, fingerprint.into())
            .filter(Column::CustomerId.is_in(links.iter().map(|link| link.customer_id)))
            .exec(&tx)
            .await?;
    }
    tx.commit().await
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
        let is_last = links.len() < BATCH;
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
        .limit(BATCH as u64)
        .into_tuple()
        .all(&engine.db)
        .await
}
