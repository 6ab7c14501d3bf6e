//! What the events of changes need: where each change was made, and the source of all of them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000012_event"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let origin = text(Alias::new("origin")).default("application").take();
        let add = outbox().add_column(origin).to_owned();
        manager.alter_table(add).await?;
        let mut installation = Table::create();
        installation
            .table(Alias::new("installation"))
            .col(id())
            .col(uuid(Alias::new("source")))
            .col(text(Alias::new("marker")));
        manager.create_table(installation).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut drop = Table::drop();
        manager
            .drop_table(drop.table(Alias::new("installation")).to_owned())
            .await?;
        let drop = outbox().drop_column(Alias::new("origin")).to_owned();
        manager.alter_table(drop).await
    }
}

fn id() -> ColumnDef {
    ColumnDef::new(Alias::new("id"))
        .integer()
        .not_null()
        .primary_key()
        .take()
}

fn outbox() -> TableAlterStatement {
    Table::alter().table(Alias::new("outbox")).to_owned()
}
