//! Reads conflicts with their customers. One that waits at a customer that was deleted waits for nothing any more.

use entity::conflict::{Column, Entity, Model};
use entity::customer;
use entity::fields::Field;
use sea_orm::{
    ColumnTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, RelationDef, Select,
    SelectTwo,
};
use uuid::Uuid;

use super::item::{Item, Listed, Page};
use super::{Conflicts, State, no_such_conflict};
use crate::attention::customer_id;
use crate::attention::page::{Position, cut};
use crate::customers::Json;
use crate::database::patiently;
use crate::problem::Problem;

/// What is asked for, as it came.
pub(super) struct Asked {
    pub(super) limit: u32,
    pub(super) cursor: Option<String>,
    pub(super) state: State,
    pub(super) field: Option<Field>,
    pub(super) customer: Option<String>,
}

impl Conflicts {
    pub(super) async fn read_page(&self, asked: Asked) -> Result<Listed, Problem> {
        let mut query = match asked.state {
            State::Open => Entity::find()
                .filter(Column::DismissedAt.is_null())
                .filter(Column::ResolvedAt.is_null())
                .filter(customer::Column::DeletedAt.is_null()),
            State::Resolved => Entity::find()
                .filter(Column::DismissedAt.is_null())
                .filter(Column::ResolvedAt.is_not_null()),
            State::Dismissed => Entity::find().filter(Column::DismissedAt.is_not_null()),
        };
        if let Some(field) = asked.field {
            query = query.filter(Column::Field.eq(field.as_str()));
        }
        if let Some(id) = customer_id(&self.0, asked.customer.as_deref()).await? {
            query = query.filter(Column::CustomerId.eq(id));
        }
        if let Some(position) = Position::parse(asked.cursor.as_deref())? {
            let id: Uuid = position.key()?;
            query = query.filter(position.behind(Column::CreatedAt, Column::Id, id));
        }
        let query = query
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(u64::from(asked.limit) + 1);
        let rows = patiently(|| with_rows(query.clone()).all(&self.0.db)).await?;
        let rows: Vec<_> = rows
            .into_iter()
            .filter_map(|(conflict, row)| Some((conflict, row?)))
            .collect();
        let (rows, next_cursor) = cut(rows, asked.limit, |(conflict, _)| {
            Position::new(conflict.created_at, conflict.id)
        });
        let items = rows.iter().map(|(conflict, row)| Item::of(conflict, row));
        let data = items.collect();
        Ok(Listed::Page(Json::of(&Page { data, next_cursor })))
    }

    pub(super) async fn find(&self, id: Uuid) -> Result<(Model, customer::Model), Problem> {
        let query = Entity::find_by_id(id);
        let found = patiently(|| with_rows(query.clone()).one(&self.0.db)).await?;
        match found {
            Some((conflict, Some(row))) => Ok((conflict, row)),
            _ => Err(no_such_conflict()),
        }
    }
}

fn with_rows(conflicts: Select<Entity>) -> SelectTwo<Entity, customer::Entity> {
    let to_customer: RelationDef = Entity::belongs_to(customer::Entity)
        .from(Column::CustomerId)
        .to(customer::Column::Id)
        .into();
    conflicts
        .join(JoinType::InnerJoin, to_customer)
        .select_also(customer::Entity)
}
