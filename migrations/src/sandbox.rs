use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, text_null};

crate::migrator! {
    /// The schema of payment-sandbox.
    SandboxMigrator: Entries
}

struct Entries;

impl MigrationName for Entries {
    fn name(&self) -> &'static str {
        "m20261122_000001_entries"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Entries {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("entries")
            .col(big_integer("sequence").primary_key().auto_increment())
            .col(text("kind"))
            .col(text("key"))
            .col(text("customer_id"))
            .col(big_integer("amount"))
            .col(text("currency"))
            .col(text("reference"))
            .col(text("outcome"))
            .col(text_null("reason"))
            .col(big_integer("asked"))
            .col(big_integer("conflicts"))
            .col(big_integer("created_at"))
            .take();
        manager.create_table(table).await?;
        // The key comes first, so that requests are found by it alone.
        let keys = Index::create().name("entries_key_kind").table("entries").col("key").col("kind").unique().take();
        manager.create_index(keys).await?;
        let reference = Index::create().name("entries_reference").table("entries").col("reference").take();
        manager.create_index(reference).await
    }
}
