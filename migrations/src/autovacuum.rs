//! How often PostgreSQL looks through a table to plan by it. SQLite does so only when asked.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Looks through these tables when they have doubled, and never through the outbox, which is empty when all is well. By
/// default it is at every tenth, which in a young system is every minute and takes a processor for half a second each
/// time; and there is nothing to learn, as the services' plans go by the indexes.
pub(crate) struct AnalyzeLess(pub(crate) &'static [&'static str]);

impl MigrationName for AnalyzeLess {
    fn name(&self) -> &'static str {
        "m20261123_000005_analyze_less"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for AnalyzeLess {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let set = |table: &str, setting: &str| format!("ALTER TABLE {table} SET ({setting})");
        let mut statements: Vec<String> =
            self.0.iter().map(|table| set(table, "autovacuum_analyze_scale_factor = 1")).collect();
        statements.push(set("outbox", "autovacuum_analyze_threshold = 2147483647"));
        manager.get_connection().execute_unprepared(&statements.join("; ")).await.map(drop)
    }
}
