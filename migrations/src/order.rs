use crate::saga_table::{due_index, saga_table};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json_binary, text, text_null};

crate::migrator! {
    /// The schema of order-service.
    OrderMigrator: crate::outbox::Migration, Orders, crate::dead_letters::Migration, crate::audit_log::Migration
}

struct Orders;

impl MigrationName for Orders {
    fn name(&self) -> &'static str {
        "m20261122_000001_orders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Orders {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = saga_table("orders")
            .col(text("stage"))
            .col(text("money"))
            .col(text("customer_id"))
            .col(big_integer("total"))
            .col(text("currency"))
            .col(json_binary("items"))
            .col(text_null("reason_code"))
            .col(text_null("reason_message"))
            .take();
        manager.create_table(table).await?;
        manager.create_index(due_index("orders")).await
    }
}
