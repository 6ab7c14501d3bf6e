//! What the feed of changes reads: the transaction and the changed fields of an outbox row, also after it was published.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;

use crate::run;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261129_000016_change"
    }
}

/// In two steps: a volatile default in the first one would rewrite the whole table.
const POSTGRES: &[&str] = &[
    "ALTER TABLE customer ADD COLUMN change_xid bigint NOT NULL DEFAULT 0",
    "ALTER TABLE customer ALTER COLUMN change_xid SET DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint)",
    "ALTER TABLE outbox ADD COLUMN xid bigint NOT NULL DEFAULT 0",
    "ALTER TABLE outbox ALTER COLUMN xid SET DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint)",
    "ALTER TABLE outbox ADD COLUMN fields jsonb NOT NULL DEFAULT '[]'",
    "ALTER TABLE timeline ADD COLUMN change_at timestamptz",
    "ALTER TABLE installation ADD COLUMN forgotten_xid bigint NOT NULL DEFAULT -1",
];

const SQLITE: &[&str] = &[
    "ALTER TABLE customer ADD COLUMN change_xid bigint NOT NULL DEFAULT 0",
    "ALTER TABLE outbox ADD COLUMN xid bigint NOT NULL DEFAULT 0",
    "ALTER TABLE outbox ADD COLUMN fields jsonb_text NOT NULL DEFAULT '[]'",
    "ALTER TABLE timeline ADD COLUMN change_at timestamp_with_timezone_text",
    "ALTER TABLE installation ADD COLUMN forgotten_xid bigint NOT NULL DEFAULT -1",
];

const BOTH: &[&str] = &[
    "ALTER TABLE timeline ADD COLUMN change_xid bigint",
    "ALTER TABLE timeline ADD COLUMN change_id bigint",
    "ALTER TABLE installation ADD COLUMN forgotten_id bigint NOT NULL DEFAULT 0",
    "CREATE INDEX outbox_change ON outbox (xid, id)",
    "CREATE INDEX timeline_change ON timeline (change_xid, change_id) WHERE change_id IS NOT NULL",
];

const DOWN: &[&str] = &[
    "DROP INDEX timeline_change",
    "DROP INDEX outbox_change",
    "ALTER TABLE installation DROP COLUMN forgotten_id",
    "ALTER TABLE installation DROP COLUMN forgotten_xid",
    "ALTER TABLE timeline DROP COLUMN change_at",
    "ALTER TABLE timeline DROP COLUMN change_id",
    "ALTER TABLE timeline DROP COLUMN change_xid",
    "ALTER TABLE outbox DROP COLUMN fields",
    "ALTER TABLE outbox DROP COLUMN xid",
    "ALTER TABLE customer DROP COLUMN change_xid",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let own = match manager.get_connection().get_database_backend() {
            DbBackend::Postgres => POSTGRES,
            _ => SQLITE,
        };
        run(manager, own).await?;
        run(manager, BOTH).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, DOWN).await
    }
}
