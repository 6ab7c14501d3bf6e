//! What happened to a customer, step by step. Rows are only added, and forgotten after a while; they hold names
//! of fields and codes, and never a value.
//!
//! A commit is read from its outbox row as long as that is there. The relay moves it here when it settles the row
//! ([`crate::outbox::settle`]), so a write of the application costs nothing more.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ActiveValue::Set, Condition, DatabaseTransaction, FromJsonQueryResult, QueryOrder, QuerySelect,
};
use serde::{Deserialize, Serialize};

use crate::change::Position;
use crate::fields::Member;
use crate::message::Origin;
use crate::{customer, installation, outbox};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "timeline")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub customer_id: Uuid,
    pub at: DateTimeUtc,
    /// When the change was committed that is published here; none if it came from Stripe, of which
    /// [`Step::Apply`] tells.
    pub committed_at: Option<DateTimeUtc>,
    pub step: Step,
    pub rev: Option<i64>,
    pub detail: Detail,
    /// Of the change that is published here: its transaction, its outbox row and when it was made, for the feed of
    /// changes.
    pub change_xid: Option<i64>,
    pub change_id: Option<i64>,
    pub change_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Copy, Clone, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Step {
    /// The application changed the customer.
    Commit,
    /// The broker has the change.
    Publish,
    /// A request to Stripe began.
    Push,
    /// What came of it.
    Outcome,
    /// Stripe's copy differs from what both sides last agreed on.
    Drift,
    /// What was done about it here.
    Apply,
}

/// Codes, names of fields and Stripe's request id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(default)]
pub struct Detail {
    /// Of a commit: created, updated or deleted. Of a push: create, update, delete or detach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of a commit: where the change was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Of an outcome, a drift that was put aside, or an apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why the customer was parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Member>,
    /// Stripe's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The how many-th in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
}

/// Whether this attempt in a row is noted: the first, and then ever fewer, so that an outage of a day adds some
/// twenty rows to a customer.
pub fn is_noted(attempt: i32) -> bool {
    attempt.unsigned_abs().is_power_of_two()
}

/// Adds a row to the transaction of what it tells.
pub async fn note(
    tx: &DatabaseTransaction,
    (customer_id, rev): (Uuid, Option<i64>),
    step: Step,
    detail: Detail,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        customer_id: Set(customer_id),
        at: Set(at),
        step: Set(step),
        rev: Set(rev),
        detail: Set(detail),
        ..Default::default()
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Adds the same to the stories of several customers that exist.
pub async fn note_all(
    tx: &DatabaseTransaction,
    (customer_ids, rev): (impl IntoIterator<Item = Uuid>, Option<i64>),
    step: Step,
    detail: Detail,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    // What they have in common is sent once.
    let rows = Query::select()
        .column(customer::Column::Id)
        .expr(Expr::value(at))
        .expr(Expr::value(step.into_value()))
        .expr(Expr::value(rev))
        .expr(Expr::value(sea_orm::Value::from(detail)))
        .from(customer::Entity)
        .and_where(customer::Column::Id.is_in(customer_ids))
        .to_owned();
    let insert = Query::insert()
        .into_table(Entity)
        .columns([
            Column::CustomerId,
            Column::At,
            Column::Step,
            Column::Rev,
            Column::Detail,
        ])
        .select_from(rows)
        .map_err(|error| DbErr::Custom(error.to_string()))?
        .to_owned();
    tx.execute(&insert).await?;
    Ok(())
}

/// Forgets up to `limit` rows from before a time; how many those were. Only the oldest rows are looked at, so a
/// call is cheap when there is nothing to forget. Where the feed of changes begins after that is recorded first.
pub async fn forget(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, DbErr> {
    let oldest: Vec<(i64, DateTime<Utc>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::At])
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    // Ids follow the time, but for rows that were committed beside each other.
    let Some((last, _)) = oldest.iter().rev().find(|(_, at)| *at < before) else {
        return Ok(0);
    };
    let old = Condition::all()
        .add(Column::Id.lte(*last))
        .add(Column::At.lt(before));
    let change: Option<(i64, i64)> = Entity::find()
        .select_only()
        .columns([Column::ChangeXid, Column::ChangeId])
        .filter(old.clone())
        .filter(Column::ChangeId.is_not_null())
        .order_by_desc(Column::ChangeXid)
        .order_by_desc(Column::ChangeId)
        .into_tuple()
        .one(db)
        .await?;
    if let Some((xid, id)) = change {
        installation::forget_changes(db, Position { xid, id }).await?;
    }
    let forgotten = Entity::delete_many().filter(old).exec(db).await?;
    Ok(forgotten.rows_affected)
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub place: Place,
    pub step: Step,
    pub rev: Option<i64>,
    pub detail: Detail,
}

/// Where an entry stands in its customer's story: at equal times a commit goes before its publishing, and a drift before
/// what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at: DateTime<Utc>,
    pub rank: u8,
    /// The rev of a commit and of its publishing, the id of any other row.
    pub number: i64,
}

const COMMIT: u8 = 0;
const PUBLISH: u8 = 1;
const DRIFT: u8 = 2;
const OTHER: u8 = 3;

/// The first `limit` entries behind a place, oldest first.
pub async fn page(
    db: &impl ConnectionTrait,
    customer_id: Uuid,
    behind: Option<Place>,
    limit: u64,
) -> Result<Vec<Entry>, DbErr> {
    // The outbox is read first: a row that is settled in between is seen twice rather than never.
    let waiting = outbox::Entity::find()
        .filter(outbox::Column::CustomerId.eq(customer_id))
        .filter(outbox::Column::Origin.eq(Origin::Application))
        .filter(after(
            outbox::Column::CreatedAt,
            outbox::Column::Rev,
            COMMIT,
            behind,
        ))
        .order_by_asc(outbox::Column::CreatedAt)
        .order_by_asc(outbox::Column::Rev)
        .limit(limit)
        .all(db)
        .await?;
    let mut entries: Vec<Entry> = waiting.into_iter().map(waiting_entry).collect();
    let of_customer = Entity::find().filter(Column::CustomerId.eq(customer_id));
    for (rank, time, number) in [
        (COMMIT, Column::CommittedAt, Column::Rev),
        (PUBLISH, Column::At, Column::Rev),
        (DRIFT, Column::At, Column::Id),
        (OTHER, Column::At, Column::Id),
    ] {
        let rows = of_customer
            .clone()
            .filter(after(time, number, rank, behind))
            .filter(of_rank(rank))
            .order_by_asc(time)
            .order_by_asc(number)
            .limit(limit)
            .all(db)
            .await?;
        entries.extend(rows.into_iter().filter_map(|row| entry(row, rank)));
    }
    entries.sort_by_key(|entry| entry.place);
    entries.dedup_by_key(|entry| entry.place);
    entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(entries)
}

/// The steps of a rank.
fn of_rank(rank: u8) -> Condition {
    let steps = Condition::all();
    match rank {
        COMMIT => steps
            .add(Column::Step.eq(Step::Publish))
            .add(Column::CommittedAt.is_not_null()),
        PUBLISH => steps.add(Column::Step.eq(Step::Publish)),
        DRIFT => steps.add(Column::Step.eq(Step::Drift)),
        _ => steps.add(Column::Step.is_not_in([Step::Publish, Step::Drift])),
    }
}

/// What comes behind a place, among the entries of one rank.
fn after<C: ColumnTrait>(time: C, number: C, rank: u8, behind: Option<Place>) -> Condition {
    let Some(place) = behind else {
        return Condition::all();
    };
    let later = Condition::any().add(time.gt(place.at));
    match rank.cmp(&place.rank) {
        std::cmp::Ordering::Less => later,
        std::cmp::Ordering::Equal => later.add(
            Condition::all()
                .add(time.eq(place.at))
                .add(number.gt(place.number)),
        ),
        std::cmp::Ordering::Greater => later.add(time.eq(place.at)),
    }
}

fn waiting_entry(row: outbox::Model) -> Entry {
    let kind = outbox::Kind::to_value(&row.kind);
    Entry {
        place: Place {
            at: row.created_at,
            rank: COMMIT,
            number: row.rev,
        },
        step: Step::Commit,
        rev: Some(row.rev),
        detail: Detail {
            kind: Some(kind),
            origin: Some(row.origin),
            fields: row.fields.0,
            ..Detail::default()
        },
    }
}

fn entry(row: Model, rank: u8) -> Option<Entry> {
    let (step, at) = match rank {
        COMMIT => (Step::Commit, row.committed_at?),
        _ => (row.step, row.at),
    };
    let number = if rank >= DRIFT { row.id } else { row.rev? };
    Some(Entry {
        place: Place { at, rank, number },
        step,
        rev: row.rev,
        detail: row.detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_fewer_attempts_are_noted() {
        let noted: Vec<i32> = (0..100).filter(|attempt| is_noted(*attempt)).collect();
        assert_eq!(noted, [1, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn a_detail_is_spelt_without_what_it_lacks() {
        let detail = Detail {
            fields: vec![crate::fields::Field::Name.into()],
            attempt: Some(2),
            ..Detail::default()
        };
        let text = serde_json::to_string(&detail).unwrap();
        assert_eq!(text, r#"{"fields":["name"],"attempt":2}"#);
        assert_eq!(serde_json::from_str::<Detail>(&text).unwrap(), detail);
        assert_eq!(
            serde_json::from_str::<Detail>("{}").unwrap(),
            Detail::default()
        );
    }
}
