//! Heartbeats of every process: its role, what it reports as wrong, and when it stopped by itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json_binary_null, text, timestamp_with_time_zone_null};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000013_heartbeat"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Every row that exists is a worker's, and so is a row that a worker of an older version adds.
        for column in [
            text("role").default("worker").take(),
            json_binary_null("report"),
            timestamp_with_time_zone_null("stopped_at"),
        ] {
            let add = worker().add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The older versions take every row for a living worker, or for one that was killed.
        let others = "DELETE FROM worker WHERE role <> 'worker' OR stopped_at IS NOT NULL";
        manager.get_connection().execute_unprepared(others).await?;
        for column in ["stopped_at", "report", "role"] {
            let drop = worker().drop_column(Alias::new(column)).to_owned();
            manager.alter_table(drop).await?;
        }
        Ok(())
    }
}

fn worker() -> TableAlterStatement {
    Table::alter().table(Alias::new("worker")).to_owned()
}
