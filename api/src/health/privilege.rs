//! The privileges on the tables that the API's statements need, table by table.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// What the API does with each table. A row is locked by a privilege to update it.
const NEEDED: &[(&str, &[&str])] = &[
    ("customer", &["SELECT", "INSERT", "UPDATE"]),
    ("outbox", &["SELECT", "INSERT"]),
    ("api_idempotency", &["SELECT", "INSERT", "DELETE"]),
    ("stripe_link", &["SELECT", "UPDATE"]),
    ("conflict", &["SELECT", "UPDATE"]),
    ("unmatched", &["SELECT", "UPDATE"]),
    ("stripe_event", &["SELECT", "INSERT"]),
    ("timeline", &["SELECT"]),
    ("installation", &["SELECT"]),
    ("downsync_state", &["SELECT"]),
    ("stripe_read", &["SELECT"]),
    ("worker", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
];

/// A privilege may be granted on the table or on each of its columns. A sequence that a serial column reads needs USAGE;
/// one of an identity column does not.
const MISSING: &str = "\
    with needed as (
        select t.name, t.privilege, to_regclass(t.name) as table_oid
        from jsonb_to_recordset($1) as t(name text, privilege text))
    select n.privilege || ' ON ' || n.name as missing from needed n
    where n.table_oid is not null and not case
        when n.privilege = 'DELETE' then has_table_privilege(n.table_oid, n.privilege)
        else (select bool_and(has_column_privilege(n.table_oid, a.attnum, n.privilege))
              from pg_attribute a where a.attrelid = n.table_oid and a.attnum > 0 and not a.attisdropped)
        end
    union all
    select 'USAGE ON SEQUENCE ' || s.name from (
        select pg_get_serial_sequence('outbox', 'id') as name
        from pg_attribute a
        where a.attrelid = to_regclass('outbox') and a.attname = 'id' and a.attidentity = '') s
    where s.name is not null and not has_sequence_privilege(s.name, 'USAGE')
    order by 1";

/// The privileges that are to be granted, as GRANT names them. SQLite has none.
pub(super) async fn missing(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(Vec::new());
    }
    let needed = NEEDED.iter().flat_map(|(name, privileges)| {
        privileges
            .iter()
            .map(move |privilege| serde_json::json!({"name": name, "privilege": privilege}))
    });
    let needed = serde_json::Value::Array(needed.collect());
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, MISSING, [needed.into()]);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get("", "missing")).collect()
}
