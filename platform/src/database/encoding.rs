//! Whether PostgreSQL can store every text. Only a database in UTF-8 can.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement};

/// Refuses a database of another encoding.
///
/// # Errors
/// The encoding, and what to do about it.
pub(super) async fn check(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let query = "select current_setting('server_encoding'), current_database()";
    let row = db
        .query_one_raw(Statement::from_string(DbBackend::Postgres, query))
        .await?
        .ok_or_else(|| DbErr::RecordNotFound("current_setting() gave no row".to_owned()))?;
    let (encoding, name): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    check_name(&encoding, &name)
}

fn check_name(encoding: &str, database: &str) -> Result<(), DbErr> {
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(DbErr::Conn(RuntimeErr::Internal(format!(
        "the database {database} has the encoding {encoding}, and UTF8 is needed: create it again by CREATE \
         DATABASE {database} TEMPLATE template0 ENCODING 'UTF8', and restore a dump into it"
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_passes() {
        assert!(check_name("UTF8", "app").is_ok());
        for encoding in ["SQL_ASCII", "LATIN1", "EUC_JP", "utf8"] {
            let error = check_name(encoding, "app").unwrap_err().to_string();
            let has = |word: &str| error.contains(word);
            assert!(has(encoding) && has("template0") && has("app"), "{error}");
            assert!(!error.contains('\n'));
        }
    }
}
