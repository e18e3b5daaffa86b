//! The outbox that every service has. Rows that exist are unsent.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, small_integer, text, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("outbox")
            .col(uuid("order_id"))
            .col(big_integer("version"))
            .col(small_integer("n"))
            .col(text("topic"))
            .col(text("event_type"))
            .col(binary("value"))
            .col(text("correlation_id"))
            .col(text("traceparent"))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("order_id").col("version").col("n"))
            .take();
        manager.create_table(table).await
    }
}
