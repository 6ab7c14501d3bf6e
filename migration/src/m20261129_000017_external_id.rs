//! The id that an application has for a customer, and the one that Stripe's metadata was last given.

use sea_orm_migration::prelude::*;

use crate::run;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261129_000017_external_id"
    }
}

const UP: &[&str] = &[
    "ALTER TABLE customer ADD COLUMN external_id text",
    "ALTER TABLE stripe_link ADD COLUMN external_id text",
    "CREATE UNIQUE INDEX customer_external_id ON customer (external_id) WHERE deleted_at IS NULL AND external_id IS NOT NULL",
];

const DOWN: &[&str] = &[
    "DROP INDEX customer_external_id",
    "ALTER TABLE stripe_link DROP COLUMN external_id",
    "ALTER TABLE customer DROP COLUMN external_id",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, DOWN).await
    }
}
