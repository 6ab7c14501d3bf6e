//! Reads parked customers: the link with its row, unless an edit has un-parked it since.

use entity::stripe_link::{Column, Entity};
use entity::{customer, stripe_link};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationDef,
    SelectTwo,
};
use uuid::Uuid;

use super::item::{Found, Item, Listed, Page};
use super::{Parked, State};
use crate::attention::customer_id;
use crate::attention::page::{Position, cut};
use crate::customers::{Json, Key};
use crate::database::patiently;
use crate::problem::{Code, Problem};

/// What is asked for, as it came.
pub(super) struct Asked {
    pub(super) limit: u32,
    pub(super) cursor: Option<String>,
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) customer: Option<String>,
}

impl Parked {
    pub(super) async fn read_page(&self, asked: Asked) -> Result<Listed, Problem> {
        let mut query = match asked.state {
            State::Open => Entity::find().filter(Column::ParkedDismissedAt.is_null()),
            State::Dismissed => Entity::find().filter(Column::ParkedDismissedAt.is_not_null()),
        };
        if let Some(reason) = &asked.reason {
            query = query.filter(Column::ParkedReason.eq(reason));
        }
        if let Some(id) = customer_id(&self.0, asked.customer.as_deref()).await? {
            query = query.filter(Column::CustomerId.eq(id));
        }
        if let Some(position) = Position::parse(asked.cursor.as_deref())? {
            let id: Uuid = position.key()?;
            query = query.filter(position.behind(Column::ParkedAt, Column::CustomerId, id));
        }
        let query = query
            .order_by_desc(Column::ParkedAt)
            .order_by_desc(Column::CustomerId)
            .limit(u64::from(asked.limit) + 1);
        let rows = patiently(|| with_rows(query.clone()).all(&self.0.db)).await?;
        let rows: Vec<_> = rows
            .into_iter()
            .filter_map(|(link, row)| Some((row?, link)))
            .collect();
        let (rows, next_cursor) = cut(rows, asked.limit, |(row, link)| {
            Position::new(link.parked_at.unwrap_or_default(), row.id)
        });
        let data = rows.iter().map(|(row, link)| Item::of(row, link)).collect();
        Ok(Listed::Page(Json::of(&Page { data, next_cursor })))
    }

    pub(super) async fn read_one(&self, key: &Key) -> Result<Found, Problem> {
        let id = match key {
            Key::Id(id) => *id,
            Key::Email(_) => self.0.find(key).await?.id,
        };
        let query = Entity::find_by_id(id);
        let found = patiently(|| with_rows(query.clone()).one(&self.0.db)).await?;
        match found {
            Some((link, Some(row))) => Ok(Found::of(&row, &link)),
            _ => Err(Problem::new(Code::NotFound, "this customer is not parked")),
        }
    }
}

fn with_rows(
    links: sea_orm::Select<stripe_link::Entity>,
) -> SelectTwo<stripe_link::Entity, customer::Entity> {
    let to_customer: RelationDef = Entity::belongs_to(customer::Entity)
        .from(Column::CustomerId)
        .to(customer::Column::Id)
        .into();
    let parked_rev = Expr::col((Entity, Column::ParkedRev));
    links
        .join(JoinType::InnerJoin, to_customer)
        .filter(Column::ParkedAt.is_not_null())
        .filter(parked_rev.gte(Expr::col((customer::Entity, customer::Column::Rev))))
        .select_also(customer::Entity)
}
