//! Who told of an event first, how often Stripe is asked for what, and with which settings.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, text, timestamp_with_time_zone as time,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261123_000006_reads"
    }
}

/// What the scanner that is at work has been told, or has found out: for whoever asks how it goes on.
const SETTINGS: [&str; 3] = ["poll_interval_ms", "full_pass_interval_ms", "read_budget"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Of the events that are there it is not known; nothing is concluded from what is in the inbox already.
        let add = alter("stripe_event")
            .add_column(text("source").default("poll"))
            .to_owned();
        manager.alter_table(add).await?;
        let index = "CREATE INDEX stripe_event_webhook ON stripe_event (received_at) WHERE source = 'webhook'";
        manager.get_connection().execute_unprepared(index).await?;
        for column in SETTINGS {
            let add = alter("downsync_state")
                .add_column(big_integer_null(column))
                .to_owned();
            manager.alter_table(add).await?;
        }
        manager.create_table(stripe_read()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::drop().table(Alias::new("stripe_read")).to_owned();
        manager.drop_table(table).await?;
        for column in SETTINGS {
            let drop = alter("downsync_state")
                .drop_column(Alias::new(column))
                .to_owned();
            manager.alter_table(drop).await?;
        }
        let index = "DROP INDEX stripe_event_webhook";
        manager.get_connection().execute_unprepared(index).await?;
        let drop = alter("stripe_event")
            .drop_column(Alias::new("source"))
            .to_owned();
        manager.alter_table(drop).await
    }
}

fn alter(table: &str) -> TableAlterStatement {
    Table::alter().table(Alias::new(table)).to_owned()
}

fn stripe_read() -> TableCreateStatement {
    Table::create()
        .table(Alias::new("stripe_read"))
        .col(text("month"))
        .col(text("kind"))
        .col(big_integer("count"))
        .col(time("first_at"))
        .col(time("last_at"))
        .primary_key(
            Index::create()
                .col(Alias::new("month"))
                .col(Alias::new("kind")),
        )
        .to_owned()
}
