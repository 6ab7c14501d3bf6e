//! Which workers live, what they began and did not finish, and the tombstones by age.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    integer, pk_uuid, text, timestamp_with_time_zone as time,
    timestamp_with_time_zone_null as time_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000003_worker"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(worker()).await?;
        manager.create_table(in_hand()).await?;
        let add = link()
            .add_column(integer("takeovers").default(0))
            .to_owned();
        manager.alter_table(add).await?;
        let add = link().add_column(time_null("doubt_since")).to_owned();
        manager.alter_table(add).await?;
        // What is in doubt now has been since its first key was used, and never before there was a link.
        let known =
            "UPDATE stripe_link SET doubt_since = created_at WHERE request_body IS NOT NULL";
        manager.get_connection().execute_unprepared(known).await?;
        // For the purge, which must not read every living customer.
        let index =
            "CREATE INDEX customer_deleted ON customer (updated_at) WHERE deleted_at IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = "DROP INDEX customer_deleted";
        manager.get_connection().execute_unprepared(index).await?;
        for column in ["doubt_since", "takeovers"] {
            let drop = link().drop_column(Alias::new(column)).to_owned();
            manager.alter_table(drop).await?;
        }
        for table in ["in_hand", "worker"] {
            let drop = Table::drop().table(Alias::new(table)).to_owned();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}

fn link() -> TableAlterStatement {
    Table::alter().table(Alias::new("stripe_link")).to_owned()
}

fn worker() -> TableCreateStatement {
    Table::create()
        .table(Alias::new("worker"))
        .col(pk_uuid("id"))
        .col(time("started_at"))
        .col(time("seen_at"))
        .to_owned()
}

fn in_hand() -> TableCreateStatement {
    Table::create()
        .table(Alias::new("in_hand"))
        .col(text("kind"))
        .col(text("item"))
        .col(integer("begun"))
        .col(time("begun_at"))
        .primary_key(
            Index::create()
                .col(Alias::new("kind"))
                .col(Alias::new("item")),
        )
        .to_owned()
}
