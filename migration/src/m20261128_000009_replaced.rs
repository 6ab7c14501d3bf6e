//! What an update was to replace in Stripe and what it replaced, so that an edit that nobody had read is not lost.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    json_binary_null, text_null, timestamp_with_time_zone_null as time_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000009_replaced"
    }
}

/// Name and statement. An update replaces a field once, and a push asks for a customer's unread events.
const INDEXES: [(&str, &str); 2] = [
    (
        "conflict_replaced_by",
        "CREATE UNIQUE INDEX conflict_replaced_by ON conflict (customer_id, field, replaced_by) \
         WHERE replaced_by IS NOT NULL",
    ),
    (
        "stripe_event_unread",
        "CREATE INDEX stripe_event_unread ON stripe_event (stripe_id) WHERE processed_at IS NULL",
    ),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("stripe_link", json_binary_null("sent_log")),
            ("stripe_event", json_binary_null("replaced")),
            ("conflict", text_null("replaced_by")),
            ("downsync_state", time_null("webhooks_proven_at")),
        ] {
            let add = alter(table).add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
        for (_, create) in INDEXES {
            manager.get_connection().execute_unprepared(create).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in INDEXES {
            let drop = format!("DROP INDEX {name}");
            manager.get_connection().execute_unprepared(&drop).await?;
        }
        for (table, column) in [
            ("stripe_link", "sent_log"),
            ("stripe_event", "replaced"),
            ("conflict", "replaced_by"),
            ("downsync_state", "webhooks_proven_at"),
        ] {
            let drop = alter(table).drop_column(Alias::new(column)).to_owned();
            manager.alter_table(drop).await?;
        }
        Ok(())
    }
}

fn alter(table: &str) -> TableAlterStatement {
    Table::alter().table(Alias::new(table)).to_owned()
}
