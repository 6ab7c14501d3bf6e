//! The mode of Stripe, live or test, that a database belongs to.
//!
//! Empty in a database of an older version: the worker fills it in at its first verified contact with Stripe.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::boolean_null;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000010_mode"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = state()
            .add_column(boolean_null(Alias::new("livemode")))
            .to_owned();
        manager.alter_table(add).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = state().drop_column(Alias::new("livemode")).to_owned();
        manager.alter_table(drop).await
    }
}

fn state() -> TableAlterStatement {
    Table::alter()
        .table(Alias::new("downsync_state"))
        .to_owned()
}
