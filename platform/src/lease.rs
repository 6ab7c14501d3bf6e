//! A row that says which process does a job that only one may do. Its epoch rises at every change
//! of hands, so that the former holder's late writes can be told from the present holder's.

use std::time::Duration;

use chrono::DateTime;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{DbBackend, Statement};
use uuid::Uuid;

use crate::clock::Clock;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "lease")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub owner: String,
    pub epoch: i64,
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
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}

const POSTGRES: &str = "\
    insert into lease (name, owner, epoch, expires_at)
    values ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond')
    on conflict (name) do update set
        owner = excluded.owner,
        epoch = lease.epoch + case when lease.owner = excluded.owner then 0 else 1 end,
        expires_at = excluded.expires_at
    where lease.owner = excluded.owner or lease.expires_at < clock_timestamp()
    returning epoch";

const SQLITE: &str = "\
    insert into lease (name, owner, epoch, expires_at)
    values ($1, $2, 1, $3)
    on conflict (name) do update set
        owner = excluded.owner,
        epoch = lease.epoch + case when lease.owner = excluded.owner then 0 else 1 end,
        expires_at = excluded.expires_at
    where lease.owner = excluded.owner or lease.expires_at < $4
    returning epoch";

impl Lease {
    /// A claim under a new owner's id, for `ttl` at a time.
    pub fn new(name: &'static str, ttl: Duration) -> Self {
        Self {
            name,
            owner: Uuid::new_v4(),
            ttl,
        }
    }

    /// Takes the lease when it is free or has run out, or renews it: `Some` when it is ours now,
    /// for the `ttl`.
    ///
    /// One statement, by the database's clock on Postgres and by `clock` on SQLite.
    pub async fn acquire(
        &self,
        db: &impl ConnectionTrait,
        clock: &Clock,
    ) -> Result<Option<Held>, DbErr> {
        let (name, owner) = (self.name.into(), self.owner.to_string().into());
        let statement = match db.get_database_backend() {
            DbBackend::Postgres => {
                let ttl_ms = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
                Statement::from_sql_and_values(
                    DbBackend::Postgres,
                    POSTGRES,
                    [name, owner, ttl_ms.into()],
                )
            }
            backend => {
                let now = clock.now();
                Statement::from_sql_and_values(
                    backend,
                    SQLITE,
                    [name, owner, (now + self.ttl).into(), now.into()],
                )
            }
        };
        let row = db.query_one_raw(statement).await?;
        let epoch: Option<i64> = row.map(|row| row.try_get("", "epoch")).transpose()?;
        Ok(epoch.map(|epoch| Held {
            name: self.name,
            owner: self.owner,
            epoch,
        }))
    }

    /// Gives the lease up, so that the next one need not wait for it to run out. Does nothing when
    /// it is no longer `held`.
    pub async fn release(&self, db: &impl ConnectionTrait, held: &Held) -> Result<(), DbErr> {
        // The row stays: a new one would start at epoch 1 again, and an old epoch would come back
        // to life.
        Entity::update_many()
            .col_expr(Column::ExpiresAt, Expr::value(DateTime::UNIX_EPOCH))
            .filter(Column::Name.eq(held.name))
            .filter(Column::Owner.eq(held.owner.to_string()))
            .filter(Column::Epoch.eq(held.epoch))
            .exec(db)
            .await?;
        Ok(())
    }
}
