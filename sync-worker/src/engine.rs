//! What every step of the worker works with.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::message::Moment;
use entity::stripe_link::{self, Column};
use platform::backoff::Backoff;
use platform::clock::Clock;
use platform::database::{self, Database};
use platform::lease::{Held, Lease};
use platform::moment::moment;
use platform::steps::Steps;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, QuerySelect,
};

use crate::gauge::Gauge;
use crate::lane::LaneState;
use crate::policy::Policy;
use crate::stripe::Stripe;

/// How long one push may take, its look-ups and its waiting for the rate included. Then it ends as
/// unknown.
pub const PUSH_LIMIT: Duration = Duration::from_secs(45);

/// When a push that did not end counts as dead, and another one may begin. Longer than
/// [`PUSH_LIMIT`], so that a push which is alive is never overtaken.
pub const PUSH_EXPIRY: chrono::Duration = chrono::Duration::seconds(60);

/// No retry is put off for longer, and no push expires later. A `next_attempt_at` that is further ahead was stored before
/// the clock was set back, and is due.
pub const LONGEST_REST: chrono::Duration = PUSH_EXPIRY;

/// Between the attempts at one customer while Stripe does not take it.
pub const RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
};

/// Cheap to clone; every task has one.
#[derive(Clone)]
pub struct Engine {
    pub db: Database,
    pub clock: Clock,
    pub stripe: Stripe,
    pub policy: Policy,
    /// Whether Stripe takes our key; stops the pushes while it does not.
    pub lane: LaneState,
    /// Where the steps below can be held up by a test.
    pub steps: Steps,
    /// How far a full pass is.
    pub gauge: Gauge,
}

impl Engine {
    /// Gives up a lease at the end. One that cannot be given up, as while the database is away, expires by itself.
    pub(crate) async fn release(&self, lease: &Lease, held: &Held) {
        if let Err(error) = database::within_bounds(lease.release(&self.db, held)).await {
            tracing::warn!(lease = held.name(), %error, "releasing a lease");
        }
    }

    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        database::within_bounds(database::begin(&self.db)).await
    }

    /// The database's clock: the one clock that rows are stamped with.
    pub async fn now(&self, db: &impl ConnectionTrait) -> Result<DateTime<Utc>, DbErr> {
        database::within_bounds(database::now(db, &self.clock)).await
    }

    /// The present moment: what fences compare.
    pub async fn moment(&self, db: &impl ConnectionTrait) -> Result<Moment, DbErr> {
        let (at, order) = database::within_bounds(moment(db, &self.clock)).await?;
        Ok(Moment { at, order })
    }

    /// Where this process alone counts the moments, on SQLite: goes on above all that are stored.
    pub async fn resume_moments(&self) -> Result<(), DbErr> {
        if self.db.get_database_backend() == DbBackend::Postgres {
            return Ok(());
        }
        let last = stripe_link::Entity::find()
            .select_only()
            .column_as(Column::AckedOrder.max(), "acked")
            .column_as(Column::ObservedOrder.max(), "observed");
        let last: Option<(Option<i64>, Option<i64>)> = last.into_tuple().one(&self.db).await?;
        let (acked, observed) = last.unwrap_or_default();
        if let Some(last) = acked.max(observed) {
            self.clock.count_moments_from(last);
        }
        Ok(())
    }
}
