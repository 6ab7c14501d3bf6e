//! When a linked customer was made in Stripe, and how far a full pass has come.
//!
//! Both may be empty: the next pass fills in the one and begins with the other.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, json_binary_null};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261123_000005_full_pass"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let created = big_integer_null(Alias::new("stripe_created"));
        let progress = json_binary_null(Alias::new("pass_progress"));
        for (table, column) in [("stripe_link", created), ("downsync_state", progress)] {
            let add = table_of(table).add_column(column).to_owned();
            manager.alter_table(add).await?;
        }
        // With the key behind it, so that a second in which many were made is read in pages, too.
        let index = "CREATE INDEX stripe_link_created ON stripe_link (stripe_created, customer_id) \
             WHERE stripe_id IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "DROP INDEX stripe_link_created";
        manager.get_connection().execute_unprepared(index).await?;
        for (table, column) in [
            ("stripe_link", "stripe_created"),
            ("downsync_state", "pass_progress"),
        ] {
            let drop = table_of(table).drop_column(Alias::new(column)).to_owned();
            manager.alter_table(drop).await?;
        }
        Ok(())
    }
}

fn table_of(name: &str) -> TableAlterStatement {
    Table::alter().table(Alias::new(name)).to_owned()
}
