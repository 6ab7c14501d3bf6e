//! Pages of customers, newest first. A cursor names the last customer of a page, so a page neither skips nor repeats
//! one because others come or go.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use entity::customer::{Column, Entity, Model};
use entity::email::Email;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::Serialize;
use uuid::Uuid;

use super::Customers;
use super::representation::{Customer, Json};
use super::sync::Summaries;
use super::write;
use crate::database::patiently;
use crate::problem::Problem;

pub(super) const DEFAULT_LIMIT: u32 = 20;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// Customers, newest first.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct CustomerPage {
    data: Vec<Customer>,
    /// For the next page; null on the last one.
    #[oai(nullable)]
    next_cursor: Option<String>,
}

impl Example for CustomerPage {
    fn example() -> Self {
        Self {
            data: vec![Customer::example()],
            next_cursor: None,
        }
    }
}

#[derive(ApiResponse)]
pub(super) enum Listed {
    /// A page, which may be empty.
    #[oai(status = 200)]
    Page(Json<CustomerPage>),
}

/// What is asked for, as it came.
pub(super) struct Asked {
    pub(super) limit: u32,
    pub(super) cursor: Option<String>,
    pub(super) email: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) created_after: Option<DateTime<Utc>>,
    pub(super) created_before: Option<DateTime<Utc>>,
    pub(super) updated_after: Option<DateTime<Utc>>,
    pub(super) deleted: bool,
}

struct Filter {
    limit: u32,
    behind: Option<Position>,
    email_key: Option<String>,
    external_id: Option<String>,
    created_after: Option<DateTime<Utc>>,
    created_before: Option<DateTime<Utc>>,
    updated_after: Option<DateTime<Utc>>,
    deleted: bool,
}

impl Customers {
    pub(super) async fn list(&self, asked: Asked) -> Result<Listed, Problem> {
        let filter = Filter::of(asked)?;
        let mut rows = patiently(|| page(&self.db, &filter)).await?;
        // One more than asked for was read, to know whether there is more.
        let more = rows.len() > filter.limit as usize;
        rows.truncate(filter.limit as usize);
        let summaries = patiently(|| Summaries::read(&self.db, rows.iter().map(|row| row.id)));
        let summaries = summaries.await?;
        let last = rows.last().filter(|_| more);
        let page = CustomerPage {
            next_cursor: last.map(|row| Position::of(row).to_text()),
            data: rows
                .iter()
                .map(|row| Customer::of(row, summaries.of(row)))
                .collect(),
        };
        Ok(Listed::Page(Json::of(&page)))
    }
}

impl Filter {
    fn of(asked: Asked) -> Result<Self, Problem> {
        let behind = asked.cursor.map(|text| {
            Position::parse(&text)
                .ok_or_else(|| Problem::invalid("cursor", "cursor must be a next_cursor of ours"))
        });
        let email = asked.email.map(|text| {
            Email::parse(&text).map_err(|error| Problem::invalid("email", format!("email {error}")))
        });
        Ok(Self {
            limit: asked.limit,
            behind: behind.transpose()?,
            email_key: email.transpose()?.map(|email| email.key().to_owned()),
            external_id: external_id(asked.external_id)?,
            created_after: time("created_after", asked.created_after)?,
            created_before: time("created_before", asked.created_before)?,
            updated_after: time("updated_after", asked.updated_after)?,
            deleted: asked.deleted,
        })
    }
}

/// In canonical form, as it is stored.
fn external_id(asked: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = asked else {
        return Ok(None);
    };
    match write::external_id(&text)? {
        Some(id) => Ok(Some(id.into_string())),
        None => Err(Problem::invalid(
            "external_id",
            "external_id must not be empty",
        )),
    }
}

/// A time of RFC 3339, which has years from 0 to 9999 at any offset from UTC. It is moved into the years that SQLite
/// compares correctly as texts; no customer is outside of them.
fn time(name: &'static str, time: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(time) = time else {
        return Ok(None);
    };
    if !(-1..=10_000).contains(&time.year()) {
        return Err(Problem::invalid(
            name,
            format!("{name} must be in a year from 0 to 9999"),
        ));
    }
    let last = DateTime::from_timestamp(LAST_SECOND, 0).expect("chrono has this year");
    Ok(Some(time.clamp(DateTime::UNIX_EPOCH, last)))
}

async fn page(db: &impl ConnectionTrait, filter: &Filter) -> Result<Vec<Model>, DbErr> {
    let place = || Expr::tuple([Expr::col(Column::CreatedAt), Expr::col(Column::Id)]);
    let mut query = Entity::find().filter(if filter.deleted {
        Column::DeletedAt.is_not_null()
    } else {
        Column::DeletedAt.is_null()
    });
    if let Some(key) = &filter.email_key {
        query = query.filter(Column::EmailKey.eq(key));
    }
    if let Some(id) = &filter.external_id {
        query = query.filter(Column::ExternalId.eq(id));
    }
    if let Some(time) = filter.created_after {
        query = query.filter(Column::CreatedAt.gte(time));
    }
    if let Some(time) = filter.created_before {
        query = query.filter(Column::CreatedAt.lt(time));
    }
    if let Some(time) = filter.updated_after {
        query = query.filter(Column::UpdatedAt.gte(time));
    }
    if let Some(Position { created_at, id }) = filter.behind {
        let last = Expr::tuple([Expr::value(created_at), Expr::value(id)]);
        query = query.filter(place().lt(last));
    }
    query
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(u64::from(filter.limit) + 1)
        .all(db)
        .await
}

/// The place of a customer in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    created_at: DateTime<Utc>,
    id: Uuid,
}

impl Position {
    fn of(row: &Model) -> Self {
        Self {
            created_at: row.created_at,
            id: row.id,
        }
    }

    /// Opaque to clients: microseconds and id, in bytes.
    fn to_text(self) -> String {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.created_at.timestamp_micros().to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (micros, id) = bytes.split_at(8);
        let micros = i64::from_be_bytes(micros.try_into().ok()?);
        Some(Self {
            created_at: DateTime::from_timestamp_micros(micros).filter(|_| micros >= 0)?,
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_names_its_place_and_no_text_panics(
            micros in 0..253_402_300_799_000_000_i64, id in any::<u128>(), text in ".{0,40}",
        ) {
            let position = Position {
                created_at: DateTime::from_timestamp_micros(micros).unwrap(),
                id: Uuid::from_u128(id),
            };
            prop_assert_eq!(Position::parse(&position.to_text()), Some(position));
            let _ = Position::parse(&text);
        }
    }
}
