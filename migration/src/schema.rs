//! Compares the schema of a database with the one of this version. It only reads, so a role that owns no table can
//! use it too: sea-orm's own check creates the table of migrations first.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr, RuntimeErr, SqlxError, Statement};

use crate::{Migrator, MigratorTrait};

/// How the schema of a database compares with this version's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// No migration was ever applied, or the tables are in a schema that this connection does not search.
    Missing,
    /// These migrations of this version are not applied, in order.
    Older(Vec<String>),
    /// Every migration of this version is applied, and these that it does not know.
    Newer(Vec<String>),
}

impl Schema {
    /// What is wrong and what to do, in a sentence; none if the schema is this version's.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Current => None,
            Self::Missing => Some(
                "the database does not have the tables of customer-sync: run `migration up`; if they are there, \
                 grant the role USAGE on their schema and name it in search_path"
                    .to_owned(),
            ),
            Self::Older(missing) => Some(format!(
                "the schema of the database is older than this version needs, {} is not applied: run `migration up`",
                missing.join(", ")
            )),
            Self::Newer(unknown) => Some(format!(
                "the schema of the database is newer than this version, which does not know {}: update this \
                 program, or take the migration back with the version that applied it (`migration down`)",
                unknown.join(", ")
            )),
        }
    }
}

/// Reads which migrations are applied.
///
/// # Errors
/// The database does not answer, or the role may not read `seaql_migrations`.
pub async fn read(db: &impl ConnectionTrait) -> Result<Schema, DbErr> {
    let select = Statement::from_string(
        db.get_database_backend(),
        "SELECT version FROM seaql_migrations",
    );
    let rows = match db.query_all_raw(select).await {
        Ok(rows) => rows,
        Err(error) if is_undefined_table(&error) => return Ok(Schema::Missing),
        Err(error) => return Err(error),
    };
    let applied = rows.iter().map(|row| row.try_get("", "version"));
    Ok(compare(&applied.collect::<Result<_, _>>()?))
}

fn compare(applied: &BTreeSet<String>) -> Schema {
    let own: Vec<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    if applied.is_empty() {
        return Schema::Missing;
    }
    let missing: Vec<_> = own
        .iter()
        .filter(|name| !applied.contains(*name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Schema::Older(missing);
    }
    let unknown: Vec<_> = applied
        .iter()
        .filter(|name| !own.contains(name))
        .cloned()
        .collect();
    if unknown.is_empty() {
        Schema::Current
    } else {
        Schema::Newer(unknown)
    }
}

/// `undefined_table` of PostgreSQL; SQLite has no code of its own for it.
fn is_undefined_table(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    let SqlxError::Database(error) = &**error else {
        return false;
    };
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(change: impl FnOnce(&mut BTreeSet<String>)) -> Schema {
        let mut names: BTreeSet<String> = Migrator::migrations()
            .iter()
            .map(|migration| migration.name().to_owned())
            .collect();
        change(&mut names);
        compare(&names)
    }

    #[test]
    fn schema_is_compared_by_names_of_migrations() {
        let newer = "m20991231_999999_later".to_owned();
        assert_eq!(applied(|_| {}), Schema::Current);
        assert_eq!(applied(BTreeSet::clear), Schema::Missing);
        let last = Migrator::migrations().last().unwrap().name().to_owned();
        let older = applied(|names| {
            names.remove(&last);
        });
        assert_eq!(older, Schema::Older(vec![last.clone()]));
        let unknown = applied(|names| {
            names.insert(newer.clone());
        });
        assert_eq!(unknown, Schema::Newer(vec![newer.clone()]));
        // A missing one decides: this version cannot work without it.
        let both = applied(|names| {
            names.remove(&last);
            names.insert(newer);
        });
        assert_eq!(both, Schema::Older(vec![last]));
    }

    #[test]
    fn every_problem_names_the_next_step() {
        assert_eq!(Schema::Current.problem(), None);
        let names = vec!["m1".to_owned(), "m2".to_owned()];
        for (schema, step) in [
            (Schema::Missing, "migration up"),
            (Schema::Older(names.clone()), "migration up"),
            (Schema::Newer(names), "update this program"),
        ] {
            let problem = schema.problem().unwrap();
            assert!(problem.contains(step), "{problem}");
        }
    }
}
