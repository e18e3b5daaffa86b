use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary_null, text};

crate::migrator! {
    /// The schema of the embedded event log.
    EventLogMigrator: Log
}

struct Log;

impl MigrationName for Log {
    fn name(&self) -> &'static str {
        "m20261122_000001_log"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Log {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let records = Table::create()
            .table("log_records")
            .col(text("topic"))
            .col(big_integer("position"))
            .col(binary_null("key"))
            .col(binary_null("value"))
            .col(text("headers"))
            .col(big_integer("appended_at"))
            .primary_key(Index::create().col("topic").col("position"))
            .take();
        manager.create_table(records).await?;
        let offsets = Table::create()
            .table("log_offsets")
            .col(text("consumer_group"))
            .col(text("topic"))
            .col(big_integer("next_position"))
            .primary_key(Index::create().col("consumer_group").col("topic"))
            .take();
        manager.create_table(offsets).await
    }
}
