//! What identifies the events of this installation: their CloudEvents source.
//!
//! A database that is restored from a dump hands out the same revs again, and so the same event ids,
//! for other changes. The restored tables are new ones, which the marker shows, and then the source
//! is a new one too. A copy of the files, or a recovery to a point in time, is not noticed.

use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{DatabaseTransaction, DbBackend, Statement};

use crate::change::Position;

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
    /// The last change that the feed of changes has forgotten.
    pub forgotten_xid: i64,
    pub forgotten_id: i64,
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
        ..Default::default()
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
        ..Default::default()
    };
    release_changes(tx).await?;
    Ok(Source::new(restored.update(tx).await?.source, true))
}

/// What identifies the feed of changes: the source, and the last change that was forgotten. None before a relay has
/// started for the first time.
pub async fn find(db: &impl ConnectionTrait) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(ID).one(db).await
}

impl Model {
    pub fn forgotten(&self) -> Position {
        Position {
            xid: self.forgotten_xid,
            id: self.forgotten_id,
        }
    }
}

/// Records that changes up to this one are not in the feed any more.
pub(crate) async fn forget_changes(db: &impl ConnectionTrait, last: Position) -> Result<(), DbErr> {
    let place = Expr::tuple([
        Expr::col(Column::ForgottenXid),
        Expr::col(Column::ForgottenId),
    ]);
    Entity::update_many()
        .col_expr(Column::ForgottenXid, Expr::value(last.xid))
        .col_expr(Column::ForgottenId, Expr::value(last.id))
        .filter(place.lt(Expr::tuple([Expr::value(last.xid), Expr::value(last.id)])))
        .exec(db)
        .await?;
    Ok(())
}

/// After a restore, whose server may count transactions from the start: changes that were published before are in the
/// feed no more, and those that wait are changes of this transaction.
async fn release_changes(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    for statement in [
        "UPDATE timeline SET change_id = NULL WHERE change_id IS NOT NULL",
        "UPDATE outbox SET xid = DEFAULT",
        "UPDATE installation SET forgotten_xid = -1, forgotten_id = 0",
    ] {
        tx.execute_unprepared(statement).await?;
    }
    Ok(())
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
