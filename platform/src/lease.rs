//! A row that says which process does a job that only one may do. Its epoch rises at every change
//! of hands, so that the former holder's late writes can be told from the present holder's.
//!
//! No clock is compared with another one: the holder counts its renewals, and a stand-by takes over once it has seen no
//! renewal for the lease's time by its own monotonic clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{DbBackend, Statement};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lease")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// Empty while nobody holds it.
    pub owner: String,
    pub epoch: i64,
    /// Rises whenever the holder renews it.
    pub renewals: i64,
    /// When the holder gives up if it cannot renew. For readers of the table, and for stand-bys of an older version.
    pub expires_at: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One process's claim to the lease called `name`.
#[derive(Clone, Debug)]
pub struct Lease {
    pub name: &'static str,
    pub owner: Uuid,
    pub ttl: Duration,
    /// The last renewal by another holder. Clones are the same claim.
    observed: Arc<Mutex<Option<Observed>>>,
}

/// A renewal, and when it was first read.
#[derive(Clone, Copy, Debug)]
struct Observed {
    epoch: i64,
    renewals: i64,
    since: Instant,
}

/// Proof that the lease was ours when it was taken. It may have been lost since: writes that depend
/// on it compare the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    name: &'static str,
    owner: Uuid,
    epoch: i64,
}

impl Held {
    /// Of the lease.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}

/// Holders renew after a third of the time.
const OVERDUE_PERCENT: u32 = 60;

const POSTGRES: &str = "\
    insert into lease (name, owner, epoch, renewals, expires_at)
    values ($1, $2, 1, 1, clock_timestamp() + $3 * interval '1 millisecond')
    on conflict (name) do update set
        owner = excluded.owner,
        epoch = lease.epoch + case when lease.owner = excluded.owner then 0 else 1 end,
        renewals = lease.renewals + 1,
        expires_at = excluded.expires_at
    where lease.owner in (excluded.owner, '') or (lease.epoch = $4 and lease.renewals = $5)
    returning epoch";

const SQLITE: &str = "\
    insert into lease (name, owner, epoch, renewals, expires_at)
    values ($1, $2, 1, 1, $3)
    on conflict (name) do update set
        owner = excluded.owner,
        epoch = lease.epoch + case when lease.owner = excluded.owner then 0 else 1 end,
        renewals = lease.renewals + 1,
        expires_at = excluded.expires_at
    where lease.owner in (excluded.owner, '') or (lease.epoch = $4 and lease.renewals = $5)
    returning epoch";

impl Lease {
    /// A claim under a new owner's id, for `ttl` at a time.
    pub fn new(name: &'static str, ttl: Duration) -> Self {
        Self {
            name,
            owner: Uuid::new_v4(),
            ttl,
            observed: Arc::default(),
        }
    }

    /// Takes the lease when it is free, or when its holder has not renewed it for the `ttl` since this claim first read
    /// its last renewal; or renews it. `Some` when it is ours now, for the `ttl`.
    ///
    /// The holder stops when its own `ttl` has passed since it asked for the last renewal, which was before anybody
    /// could read it. So nobody takes over before that.
    pub async fn acquire(
        &self,
        db: &impl ConnectionTrait,
        clock: &Clock,
    ) -> Result<Option<Held>, DbErr> {
        let row = db.query_one_raw(self.statement(db, clock)).await?;
        let epoch: Option<i64> = row.map(|row| row.try_get("", "epoch")).transpose()?;
        if epoch.is_none() {
            self.observe(db, clock).await?;
        }
        Ok(epoch.map(|epoch| Held {
            name: self.name,
            owner: self.owner,
            epoch,
        }))
    }

    fn statement(&self, db: &impl ConnectionTrait, clock: &Clock) -> Statement {
        let abandoned = self.abandoned(clock.monotonic());
        let (epoch, renewals) = abandoned.map_or((-1, -1), |last| (last.epoch, last.renewals));
        let (backend, name, owner) = (
            db.get_database_backend(),
            self.name.into(),
            self.owner.to_string().into(),
        );
        let ttl_ms = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        let (sql, expires) = match backend {
            DbBackend::Postgres => (POSTGRES, ttl_ms.into()),
            _ => (SQLITE, (clock.now() + self.ttl).into()),
        };
        let values = [name, owner, expires, epoch.into(), renewals.into()];
        Statement::from_sql_and_values(backend, sql, values)
    }

    /// Whether the holder should have renewed the lease by now, and has not, though it is too early to take over.
    pub fn is_overdue(&self, clock: &Clock) -> bool {
        let observed = *self.observed();
        observed.is_some_and(|last| {
            clock.monotonic().duration_since(last.since) > self.ttl * OVERDUE_PERCENT / 100
        })
    }

    /// The last renewal by another holder, if it was long enough ago.
    fn abandoned(&self, now: Instant) -> Option<Observed> {
        let observed = *self.observed();
        observed.filter(|last| now.duration_since(last.since) >= self.ttl)
    }

    async fn observe(&self, db: &impl ConnectionTrait, clock: &Clock) -> Result<(), DbErr> {
        let found = Entity::find_by_id(self.name).one(db).await?;
        // After the read: the renewal is older than this.
        let now = clock.monotonic();
        let mut observed = self.observed();
        *observed = found.map(|found| {
            let known = observed
                .filter(|last| (last.epoch, last.renewals) == (found.epoch, found.renewals));
            Observed {
                epoch: found.epoch,
                renewals: found.renewals,
                since: known.map_or(now, |last| last.since),
            }
        });
        Ok(())
    }

    fn observed(&self) -> MutexGuard<'_, Option<Observed>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the lease up, so that the next one need not wait for it to run out. Does nothing when
    /// it is no longer `held`.
    pub async fn release(&self, db: &impl ConnectionTrait, held: &Held) -> Result<(), DbErr> {
        // The row stays: a new one would start at epoch 1 again, and an old epoch would come back
        // to life.
        Entity::update_many()
            .col_expr(Column::Owner, Expr::value(""))
            .col_expr(Column::ExpiresAt, Expr::value(DateTimeUtc::UNIX_EPOCH))
            .filter(Column::Name.eq(held.name))
            .filter(Column::Owner.eq(held.owner.to_string()))
            .filter(Column::Epoch.eq(held.epoch))
            .exec(db)
            .await?;
        Ok(())
    }
}
