//! What every step of the worker works with.

use std::time::Duration;

use chrono::{DateTime, Utc};
use platform::backoff::Backoff;
use platform::clock::Clock;
use platform::database::{self, Database};
use platform::steps::Steps;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

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
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        database::within_bounds(database::begin(&self.db)).await
    }

    /// The database's clock: the one clock that all fences are read from.
    pub async fn now(&self, db: &impl ConnectionTrait) -> Result<DateTime<Utc>, DbErr> {
        database::within_bounds(database::now(db, &self.clock)).await
    }
}
