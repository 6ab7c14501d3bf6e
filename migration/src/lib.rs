//! The schema, Postgres and SQLite from one source.

mod m20261122_000001_first;
mod m20261122_000002_decisions;
mod m20261122_000003_worker;
mod m20261123_000004_stamps;
mod m20261123_000005_full_pass;
mod m20261123_000006_reads;
mod m20261123_000007_fingerprint;
mod m20261128_000009_replaced;
mod m20261128_000010_mode;
mod m20261128_000011_tombstone_email;
mod m20261128_000012_event;
mod m20261128_000013_heartbeat;
mod m20261128_000015_order;
mod m20261129_000016_change;
mod m20261129_000017_external_id;
pub mod schema;

pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;

/// All migrations, oldest first. Applied by `migration up`, or at start by the all-in-one binary.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_first::Migration),
            Box::new(m20261122_000002_decisions::Migration),
            Box::new(m20261122_000003_worker::Migration),
            Box::new(m20261123_000004_stamps::Migration),
            Box::new(m20261123_000005_full_pass::Migration),
            Box::new(m20261123_000006_reads::Migration),
            Box::new(m20261123_000007_fingerprint::Migration),
            Box::new(m20261128_000009_replaced::Migration),
            Box::new(m20261128_000010_mode::Migration),
            Box::new(m20261128_000011_tombstone_email::Migration),
            Box::new(m20261128_000012_event::Migration),
            Box::new(m20261128_000013_heartbeat::Migration),
            Box::new(m20261128_000015_order::Migration),
            Box::new(m20261129_000016_change::Migration),
            Box::new(m20261129_000017_external_id::Migration),
        ]
    }
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager
            .get_connection()
            .execute_unprepared(statement)
            .await?;
    }
    Ok(())
}
