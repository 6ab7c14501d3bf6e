//! What identifies the events of this installation: their CloudEvents source.
//!
//! A database that is restored from a dump hands out the same revs again, and so the same event ids,
//! for other changes. The restored tables are new ones, which the marker shows, and then the source
//! is a new one too. A copy of the files, or a recovery to a point in time, is not noticed.

use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, DbBackend, Statement};

const ID: i32 = 1;

/// There is one row at most.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    pub source: Uuid,
    /// Changes when the tables are restored from a dump.
    pub marker: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The source of events; made at the first call, and anew after a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// A URN.
    pub uri: String,
    /// The tables were restored since the last call.
    pub is_restored: bool,
}

/// Reads the source, or makes one.
pub async fn source(tx: &DatabaseTransaction) -> Result<Source, DbErr> {
    let marker = marker(tx).await?;
    let first = ActiveModel {
        id: Set(ID),
        source: Set(Uuid::new_v4()),
        marker: Set(marker.clone()),
    };
    let once = OnConflict::column(Column::Id).do_nothing().to_owned();
    let insert = Entity::insert(first).on_conflict(once);
    insert.exec_without_returning(tx).await?;
    let known = Entity::find_by_id(ID).one(tx).await?;
    let known = known.ok_or_else(|| DbErr::RecordNotFound("installation".to_owned()))?;
    if known.marker == marker {
        return Ok(Source::new(known.source, false));
    }
    let restored = ActiveModel {
        id: Unchanged(ID),
        source: Set(Uuid::new_v4()),
        marker: Set(marker),
    };
    Ok(Source::new(restored.update(tx).await?.source, true))
}

impl Source {
    fn new(id: Uuid, is_restored: bool) -> Self {
        Self {
            uri: format!("urn:uuid:{id}"),
            is_restored,
        }
    }
}

async fn marker(tx: &DatabaseTransaction) -> Result<String, DbErr> {
    if tx.get_database_backend() != DbBackend::Postgres {
        return Ok(String::new());
    }
    let sql = "SELECT concat_ws('/', (SELECT oid FROM pg_database WHERE datname = current_database()), \
            CAST(to_regclass('customer') AS oid), CAST(to_regclass('outbox') AS oid), \
            CAST(to_regclass('timeline') AS oid)) AS marker";
    let row = tx
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await?;
    row.map_or(Ok(String::new()), |row| row.try_get("", "marker"))
}
