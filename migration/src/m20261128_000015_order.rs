//! Counts renewals of a lease, and gives moments an order that no step of a clock changes.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261128_000015_order"
    }
}

/// The order of the last acknowledged push, and of the read of the last copy that counted.
const COLUMNS: [&str; 2] = ["acked_order", "observed_order"];

/// Each call returns a higher number than every call before it. The numbers follow the clock, in microseconds, as long
/// as it runs forward: so they stay above all older ones after a fail-over to a server that had not received the last
/// of them, and after a restore. A second of delay is tolerated, because moving the sequence needs a lock: without it,
/// of two sessions that move it at the same time the later one could move it back.
///
/// The function runs as the role that migrates: a role that only may use the tables needs no right to move a sequence.
const SEQUENCE: &str = "CREATE SEQUENCE moment_order AS bigint";
const FUNCTION: &str = "\
    CREATE FUNCTION next_moment() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE
        moment bigint := nextval('moment_order');
        micros bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    BEGIN
        IF micros - moment > 1000000 AND pg_try_advisory_xact_lock(hashtext('moment_order'), 0) THEN
            moment := nextval('moment_order');
            micros := extract(epoch FROM clock_timestamp()) * 1000000;
            IF micros - moment > 1000000 THEN
                moment := setval('moment_order', micros);
            END IF;
        END IF;
        RETURN moment;
    END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let renewals = alter("lease")
            .add_column(big_integer("renewals").default(0))
            .to_owned();
        manager.alter_table(renewals).await?;
        for column in COLUMNS {
            let add = alter("stripe_link")
                .add_column(big_integer_null(column))
                .to_owned();
            manager.alter_table(add).await?;
        }
        // On SQLite, which one process uses, that process counts.
        run_on_postgres(manager, [SEQUENCE, FUNCTION]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run_on_postgres(
            manager,
            ["DROP FUNCTION next_moment()", "DROP SEQUENCE moment_order"],
        )
        .await?;
        for column in COLUMNS {
            let drop = alter("stripe_link")
                .drop_column(Alias::new(column))
                .to_owned();
            manager.alter_table(drop).await?;
        }
        let renewals = alter("lease")
            .drop_column(Alias::new("renewals"))
            .to_owned();
        manager.alter_table(renewals).await
    }
}

fn alter(table: &str) -> TableAlterStatement {
    Table::alter().table(Alias::new(table)).to_owned()
}

async fn run_on_postgres(manager: &SchemaManager<'_>, statements: [&str; 2]) -> Result<(), DbErr> {
    let db = manager.get_connection();
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for statement in statements {
        db.execute_unprepared(statement).await?;
    }
    Ok(())
}
