//! Every change, whoever made it, is in the outbox until it was published.

use sea_orm::{ConnectionTrait, Statement};

use super::Model;

/// Newest changes that were never written to the outbox. The timeline is forgotten after a while.
const SILENT: &str = "\
    SELECT c.rev, o.detail FROM customer c LEFT JOIN timeline o ON o.customer_id = c.id \
        AND o.step = 'apply' AND o.rev = c.rev AND json_extract(o.detail, '$.result') = 'imported' \
    WHERE c.updated_at > $1 \
        AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.customer_id = c.id AND p.rev = c.rev) \
        AND NOT EXISTS (SELECT 1 FROM timeline t WHERE t.customer_id = c.id AND t.rev = c.rev \
            AND t.step = 'publish')";

impl Model {
    /// # Panics
    /// A customer has changed and no consumer will hear of it.
    pub(super) async fn assert_published(&self) {
        let db = &self.world.db;
        let since = self.world.clock.now() - chrono::Duration::days(1);
        let select =
            Statement::from_sql_and_values(db.get_database_backend(), SILENT, [since.into()]);
        let silent = db.query_all_raw(select).await.unwrap();
        let is_import = |row: &sea_orm::QueryResult| {
            let imported: Option<String> = row.try_get("", "detail").unwrap();
            imported.is_some()
        };
        let may_import_silently = !self.world.workers[0].policy.publish_imports;
        let mut silent = silent.iter();
        if let Some(row) = silent.find(|row| !may_import_silently || !is_import(row)) {
            let rev: i64 = row.try_get("", "rev").unwrap();
            panic!("rev {rev} of a customer is neither in the outbox nor published");
        }
    }
}
