//! An index of the tombstones by their e-mail, for each look whether a new Stripe customer has the e-mail of a deleted one.

use sea_orm_migration::prelude::*;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000011_tombstone_email"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "CREATE INDEX customer_deleted_email_key ON customer (email_key) WHERE deleted_at IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = Index::drop()
            .name("customer_deleted_email_key")
            .table(Alias::new("customer"))
            .to_owned();
        manager.drop_index(drop).await
    }
}
