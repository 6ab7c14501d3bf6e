//! `Idempotency-Key`: the answer to a create is kept in the transaction of the create, so a repeated request gets the
//! same answer and has no second effect. Answers are kept for 24 hours.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::api_idempotency::{ActiveModel, Column, Entity, Model};
use entity::time::ago;
use platform::backoff;
use platform::clock::Clock;
use platform::database::Database;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    QuerySelect, QueryTrait,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::header::StrictHeader;
use crate::problem::{Code, Problem};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Rows in one statement, so that none runs into the statement timeout.
const PRUNE_BATCH: u64 = 10_000;

/// A request that may come twice: its key, and what it asks for.
pub(crate) struct Once {
    key: String,
    digest: String,
}

impl Once {
    /// `None` without the header.
    pub(crate) fn of(
        header: &StrictHeader,
        asked: &impl Serialize,
    ) -> Result<Option<Self>, Problem> {
        let key = check(header)?.map(str::to_owned);
        Ok(key.map(|key| Self::new(key, asked)))
    }

    /// Of one item of a request that has several.
    pub(crate) fn of_item(
        header: &StrictHeader,
        place: usize,
        asked: &impl Serialize,
    ) -> Result<Option<Self>, Problem> {
        // No header has a space in it, so it is no other request's key.
        let key = check(header)?.map(|key| format!("{key} {place}"));
        Ok(key.map(|key| Self::new(key, asked)))
    }

    fn new(key: String, asked: &impl Serialize) -> Self {
        let asked = serde_json::to_vec(asked).expect("texts are JSON");
        let digest = Sha256::new_with_prefix("POST /api/v1/customers\n").chain_update(asked);
        Self {
            key,
            digest: hex::encode(digest.finalize()),
        }
    }

    /// The answer that this key has had.
    ///
    /// # Errors
    /// When it was the answer to another request.
    pub(crate) fn check(&self, kept: Model) -> Result<Model, Problem> {
        if kept.request_digest == self.digest {
            return Ok(kept);
        }
        Err(Problem::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key came with another request before; use a fresh one",
        )
        .at("Idempotency-Key"))
    }

    pub(crate) async fn find(
        &self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<Option<Model>, DbErr> {
        Entity::find_by_id(&self.key)
            .filter(Expr::col(Column::CreatedAt).gt(ago(db, now, KEPT)))
            .one(db)
            .await
    }

    /// Keeps an answer, given at `now` by the database's clock. `false` when a request with this key that ran beside this one has kept its own: this waits for
    /// the end of the other one's transaction, and the caller takes back what it has done.
    pub(crate) async fn keep(
        &self,
        tx: &DatabaseTransaction,
        answer: &Answer,
        now: DateTime<Utc>,
    ) -> Result<bool, DbErr> {
        Entity::delete_by_id(&self.key)
            .filter(Expr::col(Column::CreatedAt).lte(ago(tx, now, KEPT)))
            .exec(tx)
            .await?;
        let row = ActiveModel {
            key: Set(self.key.clone()),
            request_digest: Set(self.digest.clone()),
            status: Set(answer.status),
            body: Set(answer.body.clone()),
            etag: Set(Some(answer.etag.clone())),
            location: Set(Some(answer.location.clone())),
            created_at: Set(now),
        };
        let on_conflict = OnConflict::column(Column::Key).do_nothing().to_owned();
        let kept = Entity::insert(row)
            .on_conflict(on_conflict)
            .exec_without_returning(tx)
            .await?;
        Ok(kept == 1)
    }
}

/// The key in the header, if it can be one.
pub(crate) fn check(header: &StrictHeader) -> Result<Option<&str>, Problem> {
    const MAX_CHARS: usize = 255;
    let Some(key) = header.text.as_deref() else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > MAX_CHARS || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::new(
            Code::MalformedRequest,
            "Idempotency-Key must have 1 to 255 visible ASCII characters",
        )
        .at("Idempotency-Key"));
    }
    Ok(Some(key))
}

/// What is kept of an answer.
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) body: String,
    pub(crate) etag: String,
    pub(crate) location: String,
}

/// Forgets expired answers once in a while, until `stop`.
pub(crate) async fn prune(
    db: Database,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(backoff::jitter(PRUNE_INTERVAL)) => {}
        }
        match prune_once(&db, clock.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "forgot expired idempotency keys"),
            Err(error) => tracing::warn!("forgetting expired idempotency keys: {error}"),
        }
    }
}

/// Forgets the answers that are older than 24 hours by the database's clock, or by `now` on SQLite; how many those were.
pub async fn prune_once(db: &Database, now: DateTime<Utc>) -> Result<u64, DbErr> {
    let mut total = 0;
    loop {
        let expired = Entity::find()
            .select_only()
            .column(Column::Key)
            .filter(Expr::col(Column::CreatedAt).lte(ago(db, now, KEPT)))
            .limit(PRUNE_BATCH)
            .into_query();
        let deleted = Entity::delete_many()
            .filter(Column::Key.in_subquery(expired))
            .exec(db)
            .await?;
        total += deleted.rows_affected;
        if deleted.rows_affected < PRUNE_BATCH {
            return Ok(total);
        }
    }
}
