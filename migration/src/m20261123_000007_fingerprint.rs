//! What Stripe shows of a linked customer while it has nothing new to say, in 8 bytes.
//!
//! Empty for the links that are there: the next pass works it out, customer by customer.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::big_integer_null;

use crate::run;

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261123_000007_fingerprint"
    }
}

/// A range of it holds all that a pass without news asks for, so the table itself is not read.
const ADD: &str = "CREATE INDEX stripe_link_agreed ON stripe_link (stripe_created, customer_id, fingerprint) \
     WHERE stripe_id IS NOT NULL";
/// What it does the work of.
const ADD_BEFORE: &str = "CREATE INDEX stripe_link_created ON stripe_link (stripe_created, customer_id) \
     WHERE stripe_id IS NOT NULL";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = link()
            .add_column(big_integer_null(Alias::new("fingerprint")))
            .to_owned();
        manager.alter_table(add).await?;
        run(manager, &[ADD, "DROP INDEX stripe_link_created"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &[ADD_BEFORE, "DROP INDEX stripe_link_agreed"]).await?;
        let drop = link().drop_column(Alias::new("fingerprint")).to_owned();
        manager.alter_table(drop).await
    }
}

fn link() -> TableAlterStatement {
    Table::alter().table(Alias::new("stripe_link")).to_owned()
}
