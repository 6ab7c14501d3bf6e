//! Reads unmatched customers.

use entity::stripe_object::is_id;
use entity::unmatched::{self, Column, Entity};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::item::{Found, Item, Listed, Page};
use super::{Reason, State, Unmatched};
use crate::attention::customer_id;
use crate::attention::page::{Position, cut};
use crate::customers::Json;
use crate::database::patiently;
use crate::problem::{Code, Problem};

/// What is asked for, as it came.
pub(super) struct Asked {
    pub(super) limit: u32,
    pub(super) cursor: Option<String>,
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
    pub(super) customer: Option<String>,
}

impl From<Reason> for unmatched::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoEmail => Self::NoEmail,
            Reason::InvalidEmail => Self::InvalidEmail,
            Reason::EmailTaken => Self::EmailTaken,
            Reason::Unreadable => Self::Unreadable,
            Reason::Redacted => Self::Redacted,
            Reason::Duplicate => Self::Duplicate,
            Reason::Review => Self::Review,
            Reason::CustomerDeleted => Self::CustomerDeleted,
        }
    }
}

impl Unmatched {
    pub(super) async fn read_page(&self, asked: Asked) -> Result<Listed, Problem> {
        let mut query = match asked.state {
            State::Open => Entity::find().filter(Column::DismissedAt.is_null()),
            State::Dismissed => Entity::find().filter(Column::DismissedAt.is_not_null()),
        };
        if let Some(reason) = asked.reason {
            query = query.filter(Column::Reason.eq(unmatched::Reason::from(reason)));
        }
        if let Some(id) = customer_id(&self.0, asked.customer.as_deref()).await? {
            query = query.filter(Column::CustomerId.eq(id));
        }
        if let Some(position) = Position::parse(asked.cursor.as_deref())? {
            let id = position.key.clone();
            query = query.filter(position.behind(Column::CreatedAt, Column::StripeId, id));
        }
        let query = query
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::StripeId)
            .limit(u64::from(asked.limit) + 1);
        let rows = patiently(|| query.clone().all(&self.0.db)).await?;
        let (rows, next_cursor) = cut(rows, asked.limit, |entry| {
            Position::new(entry.created_at, &entry.stripe_id)
        });
        let data = rows.iter().map(Item::from).collect();
        Ok(Listed::Page(Json::of(&Page { data, next_cursor })))
    }

    pub(super) async fn read_one(&self, id: &str) -> Result<Found, Problem> {
        let missing = || Problem::new(Code::NotFound, "no unmatched Stripe customer has this id");
        if !is_id(id) {
            return Err(missing());
        }
        let found = patiently(|| Entity::find_by_id(id).one(&self.0.db)).await?;
        Ok(Found::of(&found.ok_or_else(missing)?))
    }
}
