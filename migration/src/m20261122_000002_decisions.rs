//! What a person decides (parked customers, conflicts, customers of Stripe's without a row), and the timeline.
//!
//! It only adds, and every column may be empty: rows that wait, and pushes under way, go on as they were.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer_null, json_binary, text, text_null, timestamp_with_time_zone as time,
    timestamp_with_time_zone_null as time_null, uuid, uuid_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000002_decisions"
    }
}

/// Table, column, type.
const COLUMNS: [(&str, &str, Kind); 8] = [
    ("stripe_link", "parked_stripe_value", Kind::Text),
    ("stripe_link", "parked_dismissed_at", Kind::Time),
    ("conflict", "rev", Kind::Rev),
    ("conflict", "decided_at", Kind::Time),
    ("conflict", "dismissed_at", Kind::Time),
    ("unmatched", "dismissed_at", Kind::Time),
    ("unmatched", "recheck_at", Kind::Time),
    ("unmatched", "link_to", Kind::Customer),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Time,
    Rev,
    Customer,
}

const INDEXES: [(&str, &str); 3] = [
    // Few wait at a time, and they are looked for every second.
    (
        "unmatched_recheck",
        "ON unmatched (recheck_at) WHERE recheck_at IS NOT NULL",
    ),
    ("unmatched_created", "ON unmatched (created_at, stripe_id)"),
    // The one index beside the key: every outbox row that is settled writes here.
    ("timeline_customer", "ON timeline (customer_id)"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One by one: SQLite adds one column in a statement.
        for (table, column, kind) in COLUMNS {
            let add = Table::alter()
                .table(Alias::new(table))
                .add_column(kind.column(column))
                .to_owned();
            manager.alter_table(add).await?;
        }
        manager.create_table(timeline()).await?;
        for (name, on) in INDEXES {
            let create = format!("CREATE INDEX {name} {on}");
            manager.get_connection().execute_unprepared(&create).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in INDEXES {
            let drop = format!("DROP INDEX {name}");
            manager.get_connection().execute_unprepared(&drop).await?;
        }
        let drop = Table::drop().table(Alias::new("timeline")).to_owned();
        manager.drop_table(drop).await?;
        for (table, column, _) in COLUMNS.into_iter().rev() {
            let drop = Table::alter()
                .table(Alias::new(table))
                .drop_column(Alias::new(column))
                .to_owned();
            manager.alter_table(drop).await?;
        }
        Ok(())
    }
}

impl Kind {
    fn column(self, name: &str) -> ColumnDef {
        let name = Alias::new(name);
        match self {
            Self::Text => text_null(name),
            Self::Time => time_null(name),
            Self::Rev => big_integer_null(name),
            Self::Customer => uuid_null(name),
        }
    }
}

/// No foreign key: the check would cost every settled row a lookup, and a story outlives its customer.
fn timeline() -> TableCreateStatement {
    Table::create()
        .table(Alias::new("timeline"))
        .col(
            ColumnDef::new("id")
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(uuid("customer_id"))
        .col(time("at"))
        .col(time_null("committed_at"))
        .col(text("step"))
        .col(big_integer_null("rev"))
        .col(json_binary("detail"))
        .to_owned()
}
