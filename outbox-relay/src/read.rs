//! Reads the next rows in the order of their ids, each only behind its customer's earlier one.

use std::collections::HashSet;

use entity::message::{Origin, SCHEMA};
use entity::outbox::Kind;
use platform::broker::{Message, Route};
use platform::database::{Database, within_bounds};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::sqlx::{self, AssertSqlSafe};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, RuntimeErr, Statement};
use tokio::time::Instant;

mod cursor;

pub(crate) use cursor::{Cursor, Range};

/// Rows in the order of their ids.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Row>,
    /// There may be more behind them.
    pub(crate) is_full: bool,
    range: Range,
    in_flight: HashSet<i64>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) customer_id: Uuid,
    pub(crate) route: Route,
    pub(crate) message: Message,
    /// The latest earlier row of the same customer that is still there.
    predecessor: Option<i64>,
}

/// Reads at most `limit` rows of a range. `in_flight` are those that are being published, and the
/// confirmed ones that are not deleted yet.
pub(crate) async fn read(
    db: &Database,
    source: &str,
    (range, limit): (Range, u16),
    in_flight: HashSet<i64>,
) -> Result<Found, DbErr> {
    let found = within_bounds(query(db, select(&range, limit))).await?;
    let rows = found.iter().map(|found| row(found, source));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(Found {
        is_full: rows.len() >= usize::from(limit),
        rows,
        range,
        in_flight,
    })
}

impl Found {
    /// Whether it was read from the lowest id on, so what could not be published before is in it.
    pub(crate) fn is_restart(&self) -> bool {
        self.range.is_restart()
    }

    /// Moves the cursor on, and returns the rows that may go out.
    ///
    /// A row whose predecessor is neither in flight nor among the rows before it is held back until
    /// a later read: its predecessor is either stuck, or was committed so late that it has not been
    /// read yet.
    pub(crate) fn take(self, cursor: &mut Cursor) -> Vec<Row> {
        let ids: Vec<_> = self.rows.iter().map(|row| row.id).collect();
        cursor.advance(self.range, &ids, self.is_full, Instant::now());
        in_order(self.rows, &self.in_flight)
    }
}

/// Numbers only, so that nothing has to be escaped. The payload goes to the broker as the text that
/// it is.
fn select(range: &Range, limit: u16) -> String {
    let after = range.after;
    let mut except = String::new();
    if !range.except.is_empty() {
        let ids: Vec<_> = range.except.iter().map(i64::to_string).collect();
        except = format!(" and o.id not in ({})", ids.join(","));
    }
    format!(
        "select o.id, o.customer_id, o.rev, o.kind, cast(o.payload as text), o.traceparent, \
            o.created_at, o.origin, case when o.rev > 1 then (\
                select e.id from outbox e where e.customer_id = o.customer_id and e.rev < o.rev \
                order by e.rev desc limit 1) end \
        from outbox o where o.id > {after}{except} order by o.id limit {limit}"
    )
}

async fn query(db: &Database, sql: String) -> Result<Vec<QueryResult>, DbErr> {
    let backend = db.get_database_backend();
    if backend != DbBackend::Postgres {
        return db.query_all_raw(Statement::from_string(backend, sql)).await;
    }
    // Postgres keeps the plan of a prepared statement, and one that was made while the outbox was
    // empty reads the whole table for each row once there is a backlog. By the simple protocol it
    // is planned each time, in one round trip.
    let connection = db.connection();
    let rows = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(connection.get_postgres_connection_pool())
        .await;
    let rows = rows.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))?;
    Ok(rows.into_iter().map(QueryResult::from).collect())
}

fn row(found: &QueryResult, source: &str) -> Result<Row, DbErr> {
    let customer_id: Uuid = found.try_get_by_index(1)?;
    let rev: i64 = found.try_get_by_index(2)?;
    let kind: Kind = found.try_get_by_index(3)?;
    let payload: String = found.try_get_by_index(4)?;
    let created_at: DateTimeUtc = found.try_get_by_index(6)?;
    let route = match found.try_get_by_index(7)? {
        Origin::Application => Route::Event(kind.key()),
        // Stripe has it already, so the worker has nothing to do.
        Origin::Stripe => Route::ForeignEvent(kind.key()),
    };
    Ok(Row {
        id: found.try_get_by_index(0)?,
        customer_id,
        route,
        message: Message {
            // The same whenever the row is published again, so that a consumer can tell.
            id: format!("{customer_id}/{rev}"),
            kind: kind.event_type().to_owned(),
            source: source.to_owned(),
            subject: customer_id.to_string(),
            schema: Some(SCHEMA.to_owned()),
            time: created_at,
            traceparent: found.try_get_by_index(5)?,
            body: payload.into(),
        },
        predecessor: found.try_get_by_index(8)?,
    })
}

/// Leaves out the rows whose predecessor is neither in flight nor before them.
///
/// Asking for the latest predecessor is enough, because what is in flight of a customer is always a
/// run from its first row on.
fn in_order(mut rows: Vec<Row>, in_flight: &HashSet<i64>) -> Vec<Row> {
    let mut admitted = HashSet::new();
    rows.retain(|row| {
        let sent = |id| in_flight.contains(&id) || admitted.contains(&id);
        let free = row.predecessor.is_none_or(sent);
        if free {
            admitted.insert(row.id);
        } else {
            let customer_id = row.customer_id;
            tracing::debug!(outbox.id = row.id, customer.id = %customer_id, "held back");
        }
        free
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, predecessor: Option<i64>) -> Row {
        let message = Message {
            id: id.to_string(),
            kind: String::new(),
            source: String::new(),
            subject: String::new(),
            schema: None,
            time: DateTimeUtc::UNIX_EPOCH,
            traceparent: None,
            body: Default::default(),
        };
        Row {
            id,
            customer_id: Uuid::nil(),
            route: Route::Event("customer.updated"),
            message,
            predecessor,
        }
    }

    fn admitted(rows: Vec<Row>, in_flight: &[i64]) -> Vec<i64> {
        let in_flight = in_flight.iter().copied().collect();
        in_order(rows, &in_flight)
            .iter()
            .map(|row| row.id)
            .collect()
    }

    #[test]
    fn a_row_goes_out_behind_its_predecessor() {
        assert_eq!(
            admitted(vec![row(1, None), row(2, Some(1)), row(3, Some(2))], &[]),
            [1, 2, 3]
        );
        assert_eq!(
            admitted(vec![row(2, Some(1)), row(3, Some(2))], &[1]),
            [2, 3]
        );
    }

    #[test]
    fn a_row_whose_predecessor_is_stuck_is_held_back_and_all_behind_it() {
        assert_eq!(
            admitted(vec![row(2, Some(1)), row(3, Some(2)), row(4, None)], &[]),
            [4]
        );
    }

    #[test]
    fn a_row_that_comes_before_its_predecessor_is_held_back() {
        assert_eq!(admitted(vec![row(2, Some(3)), row(3, None)], &[]), [3]);
    }

    #[test]
    fn what_is_left_out_is_named_by_number() {
        let mut cursor = Cursor::new(Instant::now());
        let in_flight = HashSet::from([7, 5]);
        let sql = select(&cursor.range(Instant::now(), &in_flight), 500);
        assert!(
            sql.contains("o.id not in (5,7) order by o.id limit 500"),
            "{sql}"
        );
    }
}
