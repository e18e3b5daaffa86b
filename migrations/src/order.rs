use crate::autovacuum::AnalyzeLess;
use crate::saga_table::{due_index, saga_table};
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary, json_binary, json_binary_null, text, text_null, uuid};

crate::migrator! {
    /// The schema of order-service.
    OrderMigrator: crate::outbox::Migration, Orders, Lists, Claims, crate::dead_letters::Migration, crate::audit_log::Migration, AnalyzeLess(&["orders"])
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

/// What lists and timelines need.
struct Lists;

impl MigrationName for Lists {
    fn name(&self) -> &'static str {
        "m20261122_000002_lists"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Lists {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite takes one change at a time.
        let columns = [text("history").default("").take(), json_binary_null("contact")];
        for column in columns {
            manager.alter_table(Table::alter().table("orders").add_column(column).take()).await?;
        }
        // Ids begin with the moment of the order, so that lists go by them. A change of an order is found by its moment.
        let by = |column: &'static str| {
            Index::create().name(format!("orders_{column}")).table("orders").col(column).col("order_id").take()
        };
        for column in ["customer_id", "stage", "updated_at"] {
            manager.create_index(by(column)).await?;
        }
        Ok(())
    }
}

/// Idempotency keys.
struct Claims;

impl MigrationName for Claims {
    fn name(&self) -> &'static str {
        "m20261122_000003_claims"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Claims {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("claims")
            .col(uuid("claim_id").primary_key())
            .col(text("caller"))
            .col(text("operation"))
            .col(text("key"))
            .col(binary("fingerprint"))
            .col(uuid("order_id"))
            .col(uuid("request_id"))
            .col(text("correlation_id"))
            .col(big_integer("created_at"))
            .take();
        manager.create_table(table).await?;
        let by_age = Index::create().name("claims_created_at").table("claims").col("created_at").take();
        manager.create_index(by_age).await
    }
}
