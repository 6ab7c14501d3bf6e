//! What Stripe was last known to hold of ours, by field: one rev for all of them could not tell a late write of one
//! field from an acknowledged one of another.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json_binary_null};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261123_000004_stamps"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = link().add_column(json_binary_null("pushed")).to_owned();
        manager.alter_table(add).await?;
        // Stamped, by nothing that can be read any more.
        let known = "UPDATE stripe_link SET pushed = '{}' WHERE pushed_rev > 0";
        manager.get_connection().execute_unprepared(known).await?;
        let drop = link().drop_column(Alias::new("pushed_rev")).to_owned();
        manager.alter_table(drop).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = link()
            .add_column(big_integer("pushed_rev").default(0))
            .to_owned();
        manager.alter_table(add).await?;
        let known = "UPDATE stripe_link SET pushed_rev = synced_rev WHERE pushed IS NOT NULL";
        manager.get_connection().execute_unprepared(known).await?;
        let drop = link().drop_column(Alias::new("pushed")).to_owned();
        manager.alter_table(drop).await
    }
}

fn link() -> TableAlterStatement {
    Table::alter().table(Alias::new("stripe_link")).to_owned()
}
