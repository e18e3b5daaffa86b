use crate::autovacuum::AnalyzeLess;
use crate::saga_table::{due_index, saga_table};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, json_binary, json_binary_null, text, text_null};

crate::migrator! {
    /// The schema of inventory-service.
    InventoryMigrator: crate::outbox::Migration, Reservations, Stock, crate::dead_letters::Migration, crate::audit_log::Migration, AnalyzeLess(&["reservations"])
}

struct Reservations;

impl MigrationName for Reservations {
    fn name(&self) -> &'static str {
        "m20261122_000001_reservations"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Reservations {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = saga_table("reservations")
            .col(text("stage"))
            .col(json_binary("lines"))
            .col(json_binary_null("payment"))
            .col(json_binary("missing"))
            .col(text_null("reason"))
            .take();
        manager.create_table(table).await?;
        manager.create_index(due_index("reservations")).await
    }
}

struct Stock;

impl MigrationName for Stock {
    fn name(&self) -> &'static str {
        "m20261122_000002_stock"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Stock {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("stock")
            .col(text("product_id").primary_key())
            .col(big_integer("on_hand"))
            .col(big_integer("reserved"))
            // The last word against overselling.
            .check(Expr::col("reserved").gte(0).and(Expr::col("on_hand").gte(Expr::col("reserved"))))
            .take();
        manager.create_table(table).await
    }
}
