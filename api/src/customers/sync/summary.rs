//! Stripe's id and the sync status of customers that are shown themselves: one query for all of them.

use std::collections::HashMap;

use entity::{conflict, customer, stripe_link};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QuerySelect,
};
use uuid::Uuid;

use super::{Status, status};

/// What a customer shows of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) stripe_id: Option<String>,
    pub(crate) status: Status,
}

impl Summary {
    /// Of a customer that was created just now.
    pub(crate) const NEW: Self = Self {
        stripe_id: None,
        status: Status::Pending,
    };
}

#[derive(FromQueryResult)]
struct Link {
    customer_id: Uuid,
    stripe_id: Option<String>,
    synced_rev: i64,
    parked_rev: Option<i64>,
    is_parked: bool,
    is_detached: bool,
    is_in_conflict: bool,
}

/// Those of several customers.
pub(crate) struct Summaries(HashMap<Uuid, Link>);

impl Summaries {
    pub(crate) async fn read(
        db: &impl ConnectionTrait,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, DbErr> {
        let of_link = Expr::col((conflict::Entity, conflict::Column::CustomerId))
            .equals((stripe_link::Entity, stripe_link::Column::CustomerId));
        let open = Query::select()
            .expr(Expr::value(1))
            .from(conflict::Entity)
            .and_where(of_link)
            .and_where(conflict::Column::ResolvedAt.is_null())
            .to_owned();
        let links = stripe_link::Entity::find()
            .select_only()
            .columns([
                stripe_link::Column::CustomerId,
                stripe_link::Column::StripeId,
                stripe_link::Column::SyncedRev,
                stripe_link::Column::ParkedRev,
            ])
            .column_as(stripe_link::Column::ParkedReason.is_not_null(), "is_parked")
            .column_as(stripe_link::Column::DetachedAt.is_not_null(), "is_detached")
            .column_as(Expr::exists(open), "is_in_conflict")
            .filter(stripe_link::Column::CustomerId.is_in(ids));
        let links = links.into_model::<Link>().all(db).await?;
        let links = links.into_iter().map(|link| (link.customer_id, link));
        Ok(Self(links.collect()))
    }

    pub(crate) async fn of_one(
        db: &impl ConnectionTrait,
        row: &customer::Model,
    ) -> Result<Summary, DbErr> {
        Ok(Self::read(db, [row.id]).await?.of(row))
    }

    pub(crate) fn of(&self, row: &customer::Model) -> Summary {
        let Some(link) = self.0.get(&row.id) else {
            return Summary::NEW;
        };
        let revs = (row.rev, link.synced_rev);
        let parked_rev = link.parked_rev.filter(|_| link.is_parked);
        Summary {
            stripe_id: link.stripe_id.clone(),
            status: status(revs, parked_rev, link.is_in_conflict, link.is_detached),
        }
    }
}
